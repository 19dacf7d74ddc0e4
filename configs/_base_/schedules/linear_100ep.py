# The authors' linear evaluation: SGD without weight decay, a cosine by epochs over 100 of them.
optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    # The learning rates are model.head.lrs, for a batch of 256 images; auto_scale_lr and the
    # constructor scale them to the real one.
    constructor="mmdino.LinearProbeConstructor",
    optimizer=dict(type="SGD", momentum=0.9, weight_decay=0.0),
)
auto_scale_lr = dict(enable=True, base_batch_size=256)
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)]
# Nothing to see at the start: the classifiers are random.
train_cfg = dict(
    type="mmdino.ResumableTrainLoop", max_epochs=100, val_interval=10, val_at_start=False
)
val_evaluator = dict(type="mmdino.LinearProbeMetric")
