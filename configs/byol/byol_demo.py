# BYOL on the demo's drawn images: a few minutes on two CPU cores.
_base_ = [
    "../_base_/runs/demo.py",
    "../_base_/models/byol.py",
    "../_base_/hooks/ema_teacher.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=_base_.width, hid_channels=256, out_channels=64),
    predictor=dict(in_channels=64, hid_channels=256, out_channels=64),
)
default_hooks = dict(ema_teacher=dict(momentum=0.9))
