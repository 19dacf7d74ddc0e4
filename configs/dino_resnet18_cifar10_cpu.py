# DINO with a ResNet-18 of width 32 on CIFAR-10, for two cores without a GPU: 85 minutes on one of
# them. What it reaches, and the short runs that it was chosen by: docs/small_data.md.
_base_ = ["dino_resnet18_cifar10.py"]

width = 256  # of the feature; 8 times base_channels
max_epochs = 13
lr = 0.24  # for a batch of 256: 0.06 at 64
warmup_steps = 150

model = dict(
    backbone=dict(base_channels=32, stem_channels=32),
    head=dict(in_channels=width),
    loss=dict(teacher_temp=0.02),  # so few steps need sharp targets
)
# No local views: with 12 pixels they take time and teach little.
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=_base_._two_crop_pipeline))
optim_wrapper = dict(optimizer=dict(lr=lr), precision="auto")
param_scheduler = [
    dict(_base_.lr_schedule, warmup=warmup_steps, by_epoch=False, convert_to_iter_based=False)
]
default_hooks = dict(last_layer_freeze=dict(epochs=0))
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
val_cfg = dict(fp16="auto")  # autocast, where the processor has bf16 instructions
