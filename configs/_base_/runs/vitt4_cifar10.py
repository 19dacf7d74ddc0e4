# What the runs of the tiny ViT on CIFAR-10 have in common, whatever the method: network, images,
# views, batch, length and optimiser.
_base_ = [
    "../backbones/vitt4_cifar10.py",
    "../views/cifar10.py",
    "../schedules/adamw_100ep.py",
]

max_epochs = 200  # more steps help for long
warmup_epochs = 1  # lengthen it if the loss stays near where it began
lr = 0.002  # for a batch of 256: 0.0005 at 64

optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(_base_.lr_schedule, warmup=warmup_epochs),
    dict(_base_.decay_schedule, end_value=0.1),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)
