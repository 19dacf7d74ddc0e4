# What the demos have in common, whatever the method: network, drawn images, views and length.
_base_ = [
    "../backbones/demo.py",
    "../datasets/shapes.py",
    "../schedules/adamw_100ep.py",
]

max_epochs = 12
lr = 0.016  # for a batch of 256: 0.002 at 32

optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(_base_.lr_schedule, warmup=1),
    dict(_base_.decay_schedule, end_value=0.1),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)
