# 4000 iterations: of 8 images, 87 passes over CamVid's 367.
_base_ = ["seg_160k.py"]

param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=100),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=100),
]
train_cfg = dict(max_iters=4000, val_interval=1000)
