# DINOv2's optimisation and its hooks (configs/ssl_default_config.yaml and train/train.py of the
# authors).
#
# An "epoch" of the authors is 1250 iterations whatever the data; here it is a pass over the data,
# 625 steps of ImageNet in batches of 2048. So theirs are two passes each: 100 are 200 passes,
# 125,000 iterations. For other data, passes = 1250 * batch / images.
_base_ = ["../hooks/dinov2.py"]

passes = 2
max_epochs = 100 * passes

optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.DecayGroupsConstructor",
    # lr is for a batch of 1024 and follows the root of the real one.
    optimizer=dict(type="AdamW", lr=0.004, weight_decay=0.04),
    paramwise_cfg=dict(layer_decay=0.9, patch_embed_lr_mult=0.2, batch_rule="sqrt"),
    clip_grad=dict(type="per_network", max_norm=3.0),
    # Mixed precision, as the authors'; --amp off computes in float32.
    precision="auto",
)
auto_scale_lr = dict(enable=True, base_batch_size=1024)
# mmengine does not merge lists: a config that changes one of the schedules names both.
lr_schedule = dict(
    type="mmdino.WarmupCosineLR",
    warmup=10 * passes,
    end_lr=1e-6,
    by_epoch=True,
    convert_to_iter_based=True,
)
decay_schedule = dict(
    type="mmdino.CosineWeightDecay",
    end_value=0.4,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [lr_schedule, decay_schedule]
default_hooks = dict(
    ema_teacher=dict(momentum=0.992),
    last_layer_freeze=dict(epochs=1 * passes),
    teacher_temp_warmup=dict(epochs=30 * passes),
)
train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=max_epochs, val_interval=10 * passes)
