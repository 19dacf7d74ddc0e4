# SimSiam on the demo's drawn images: a few minutes on two CPU cores.
_base_ = [
    "../_base_/runs/demo.py",
    "../_base_/models/simsiam.py",
    "../_base_/default_runtime.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=_base_.width, hid_channels=256, out_channels=256, num_layers=2),
    predictor=dict(in_channels=256, hid_channels=64, out_channels=256),
)
optim_wrapper = dict(paramwise_cfg=dict(constant_lr=["predictor"]))
