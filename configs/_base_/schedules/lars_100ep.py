# LARS as SimCLR, BYOL, Barlow Twins and MoCo v3 have it, over 100 epochs: rates for a batch of 256,
# ten epochs of warm-up, a cosine to 0, biases and norms neither adapted nor decayed.
optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.DecayGroupsConstructor",
    # lr is for a batch of 256; auto_scale_lr and the constructor scale it to the real one.
    optimizer=dict(type="LARS", lr=0.3, momentum=0.9, weight_decay=1e-6),
)
auto_scale_lr = dict(enable=True, base_batch_size=256)
lr_schedule = dict(
    type="mmdino.WarmupCosineLR",
    warmup=10,
    end_lr=0.0,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [lr_schedule]
train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=100, val_interval=10)
