# The published ViT-B/8: 300 epochs, 2 global and 10 local views.
# Published (the authors' README): k-NN 77.4, linear 80.1.
# Second-hand, not verified: all of it, from copies of the authors' args.txt in other repositories.
# From dino_vitb16.py come the views, the freeze, the length of the temperature's warm-up and the
# final learning rate, which both runs have. By those copies the authors computed in float32:
# --amp off.
# 6 images x 22 micro-batches x 8 GPUs make the batch of 1056 (theirs on 176 GPUs).
_base_ = ["dino_vitb16.py"]

model = dict(backbone=dict(patch_size=8))
train_dataloader = dict(batch_size=6)
optim_wrapper = dict(
    accumulative_counts=22,
    optimizer=dict(lr=0.0005),
    clip_grad=dict(max_norm=3.0),
)
default_hooks = dict(teacher_temp_warmup=dict(start=0.03))
train_cfg = dict(max_epochs=300)
