# 400 iterations, for a CPU.
_base_ = ["seg_160k.py"]

param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=20),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=20),
]
train_cfg = dict(max_iters=400, val_interval=400)
