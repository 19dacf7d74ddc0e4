# What segmentation adds.
_base_ = ["runtime.py"]

# mmsegmentation's names stay unprefixed; those of this package begin with "mmdino.".
default_scope = "mmseg"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="mmdino.CheckpointHook", by_epoch=False, interval=16000, max_keep_ckpts=3),
    checkpoint_match=dict(type="mmdino.CheckpointMatchHook"),
    finite_loss=dict(type="mmdino.FiniteLossHook"),
    class_count=dict(type="mmdino.ClassCountHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)

# Over several GPUs batch norms become synchronised; alone, or on a CPU, they stay plain.
sync_bn = "torch"

log_processor = dict(by_epoch=False)
visualizer = dict(type="SegLocalVisualizer")
