# SimSiam with ResNet-18 on CIFAR-10; batch, views and length are those of all methods.
# Sizes are those of lightly's benchmark.
_base_ = [
    "../_base_/runs/resnet18_cifar10.py",
    "../_base_/models/simsiam.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.resnet18),
    head=dict(in_channels=_base_.width, hid_channels=2048, out_channels=2048, num_layers=2),
    predictor=dict(in_channels=2048, hid_channels=512, out_channels=2048),
)
optim_wrapper = dict(paramwise_cfg=dict(constant_lr=["predictor"]))
