# Barlow Twins on the demo's drawn images: a few minutes on two CPU cores.
_base_ = [
    "../_base_/runs/demo.py",
    "../_base_/models/barlowtwins.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=_base_.width, hid_channels=256, out_channels=256, num_layers=2),
)
optim_wrapper = dict(paramwise_cfg=dict(one_dim_lr_mult=0.024))
