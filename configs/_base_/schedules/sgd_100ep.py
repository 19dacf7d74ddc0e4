# The authors' optimisation for ResNet-50 over 100 epochs, from their README's command.
optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.DecayGroupsConstructor",
    # lr is for a batch of 256; auto_scale_lr and the constructor scale it to the real one.
    optimizer=dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(type="per_tensor", max_norm=3.0),
)
auto_scale_lr = dict(enable=True, base_batch_size=256)
lr_schedule = dict(
    type="mmdino.WarmupCosineLR",
    warmup=10,
    end_lr=1e-6,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [lr_schedule]
train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=100, val_interval=10)
