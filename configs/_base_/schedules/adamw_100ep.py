# The paper's optimisation (Caron et al. 2021, section 3.2) over 100 epochs.
optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.DecayGroupsConstructor",
    # lr is for a batch of 256; auto_scale_lr and the constructor scale it to the real one.
    optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.04),
    clip_grad=dict(type="per_tensor", max_norm=3.0),
)
auto_scale_lr = dict(enable=True, base_batch_size=256)
# mmengine does not merge lists: a config that changes one of the schedules names both, such as
#   param_scheduler = [dict(_base_.lr_schedule, end_lr=1e-5), _base_.decay_schedule]
lr_schedule = dict(
    type="mmdino.WarmupCosineLR",
    warmup=10,
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
# k-NN over ImageNet costs a pass over it without gradients; every tenth epoch is cheap.
train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=100, val_interval=10)
