# The optimisation of feature distillation (configs of the authors, ViT-B): 300 epochs, weight decay
# constant, and each step has the rate of the one before, as their code has it.
optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.DecayGroupsConstructor",
    # lr is for a batch of 512; auto_scale_lr and the constructor scale it to the real one.
    optimizer=dict(type="AdamW", lr=3e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    # Tables of relative positions are decayed.
    paramwise_cfg=dict(not_decayed=["cls_token"]),
)
auto_scale_lr = dict(enable=True, base_batch_size=512)
lr_schedule = dict(
    type="mmdino.WarmupCosineLR",
    warmup=10,
    start_ratio=5e-7 / 3e-4,
    end_ratio=5e-6 / 3e-4,
    delayed=True,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [lr_schedule]
train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=300, val_interval=10)
