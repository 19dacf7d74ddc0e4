# DINO with the tiny ViT on CIFAR-10, for two cores without a GPU: 39 minutes on one of them. What
# it reaches, and the short runs that it was chosen by: docs/small_data.md.
_base_ = ["dino_vitt4_cifar10.py"]

max_epochs = 9
lr = 0.004  # for a batch of 256: 0.001 at 64
warmup_steps = 150

model = dict(
    head=dict(use_bn=True),
    loss=dict(teacher_temp=0.02),  # so few steps need sharp targets
    # Not of DINO but of DINOv2: it spreads the images from the first step on.
    koleo_weight=0.1,
)
# No local views: with 12 pixels they take time and teach little.
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=_base_._two_crop_pipeline))
optim_wrapper = dict(optimizer=dict(lr=lr), precision="auto")
param_scheduler = [
    dict(_base_.lr_schedule, warmup=warmup_steps, by_epoch=False, convert_to_iter_based=False),
    dict(_base_.decay_schedule, end_value=0.1),
]
default_hooks = dict(last_layer_freeze=dict(epochs=0))
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
val_cfg = dict(fp16="auto")  # autocast, where the processor has bf16 instructions
