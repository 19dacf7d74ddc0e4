# What the runs of ResNet-18 on CIFAR-10 have in common, whatever the method: network, images,
# views, batch, length and optimiser. The optimiser is that of lightly's benchmark (SGD, 0.06 for a
# batch of 128, weight decay 5e-4, 200 epochs); views and batch are those of runs/vitt4_cifar10.py.
_base_ = [
    "../backbones/resnet18_cifar10.py",
    "../views/cifar10.py",
    "../schedules/sgd_100ep.py",
]

max_epochs = 200
warmup_epochs = 1
lr = 0.12  # for a batch of 256: 0.03 at 64

optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=5e-4), clip_grad=None)
param_scheduler = [dict(_base_.lr_schedule, warmup=warmup_epochs)]
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)
