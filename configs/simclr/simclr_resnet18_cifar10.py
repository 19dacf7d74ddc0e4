# SimCLR with ResNet-18 on CIFAR-10; batch, views and length are those of all methods.
# Sizes and temperature are those of lightly's benchmark.
_base_ = [
    "../_base_/runs/resnet18_cifar10.py",
    "../_base_/models/simclr.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.resnet18),
    head=dict(in_channels=_base_.width, hid_channels=512, out_channels=128),
    loss=dict(temperature=0.5),
)
