# What linear evaluation and fine-tuning add.
_base_ = ["runtime.py"]

# mmpretrain's names stay unprefixed; those of this package begin with "mmdino.".
default_scope = "mmpretrain"

default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="mmdino.CheckpointHook", interval=1, max_keep_ckpts=1),
    checkpoint_match=dict(type="mmdino.CheckpointMatchHook"),
    iteration_seed=dict(type="mmdino.IterationSeedHook"),
    finite_loss=dict(type="mmdino.FiniteLossHook"),
    unreadable_images=dict(type="mmdino.UnreadableImagesHook", limit=100),
    throughput=dict(type="mmdino.ThroughputHook"),
    class_count=dict(type="mmdino.ClassCountHook"),
    equal_shapes=dict(type="mmdino.EqualShapesHook"),
)

log_processor = dict(window_size=50, mean_pattern=r".*(loss|time|grad_norm|lowest_ce).*")
