# The published ViT-B/16: 400 epochs, 2 global and 10 local views.
# Published (the authors' README): k-NN 76.1, linear 78.2.
# Second-hand, not verified: all of it, from copies of the authors' args.txt in other repositories.
# The views are those of dino_vits16.py. By those copies the authors computed in float32: --amp off.
# 32 images x 4 micro-batches x 8 GPUs make the batch of 1024 (theirs on 32 GPUs).
_base_ = ["dino_vits16.py"]

model = dict(
    backbone=dict(arch="deit-base"),
    # Letting the prototypes' length train is unstable for ViT-B.
    head=dict(in_channels=768, norm_last_layer=True),
)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(
    accumulative_counts=4,
    optimizer=dict(lr=0.00075),
    # dino_vits16.py has none to change.
    clip_grad=dict(_delete_=True, type="per_tensor", max_norm=0.3),
)
param_scheduler = [dict(_base_.lr_schedule, end_lr=2e-6), _base_.decay_schedule]
default_hooks = dict(
    last_layer_freeze=dict(epochs=3),
    teacher_temp_warmup=dict(epochs=50),
)
train_cfg = dict(max_epochs=400)
