# SimCLR with a tiny ViT on CIFAR-10; batch, views and length are those of all methods.
_base_ = [
    "../_base_/runs/vitt4_cifar10.py",
    "../_base_/models/simclr.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=_base_.width, hid_channels=512, out_channels=128),
    loss=dict(temperature=0.5),
)
