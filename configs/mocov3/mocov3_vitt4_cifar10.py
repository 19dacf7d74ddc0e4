# MoCo v3 with a tiny ViT on CIFAR-10; batch, views and length are those of all methods.
_base_ = [
    "../_base_/runs/vitt4_cifar10.py",
    "../_base_/models/mocov3.py",
    "../_base_/hooks/ema_teacher.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=_base_.width, hid_channels=512, out_channels=128),
    predictor=dict(in_channels=128, hid_channels=512, out_channels=128),
    loss=dict(temperature=0.2),
)
default_hooks = dict(ema_teacher=dict(momentum=0.99))
