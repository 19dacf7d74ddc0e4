# 160k iterations with a linear warm-up, ADE20K's length.
# Both schedules multiply, and the last rate is 0, so that layers keep their proportion throughout.
# Without an end a schedule ends with the run.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=1500),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=160000, val_interval=16000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
