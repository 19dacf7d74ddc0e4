# SimSiam with a tiny ViT on CIFAR-10; batch, views and length are those of all methods.
_base_ = [
    "../_base_/runs/vitt4_cifar10.py",
    "../_base_/models/simsiam.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=_base_.width, hid_channels=512, out_channels=512, num_layers=2),
    predictor=dict(in_channels=512, hid_channels=128, out_channels=512),
)
optim_wrapper = dict(paramwise_cfg=dict(constant_lr=["predictor"]))
