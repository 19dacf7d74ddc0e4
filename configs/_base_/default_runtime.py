# What pretraining adds, whatever the method; hooks/ has the hooks of each method.
_base_ = ["runtime.py"]

# mmpretrain's names stay unprefixed; those of this package begin with "mmdino.".
default_scope = "mmpretrain"

# Hooks sit here, and not in custom_hooks, because the entries of a dict can be changed or switched
# off one by one from a config or the command line:
#   --cfg-options default_hooks.checkpoint.interval=10 default_hooks.training_figure=None
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="mmdino.CheckpointHook", interval=1, max_keep_ckpts=3),
    checkpoint_match=dict(type="mmdino.CheckpointMatchHook"),
    iteration_seed=dict(type="mmdino.IterationSeedHook"),
    finite_loss=dict(type="mmdino.FiniteLossHook"),
    unreadable_images=dict(type="mmdino.UnreadableImagesHook", limit=100),
    progress=dict(type="mmdino.ProgressHook"),
    throughput=dict(type="mmdino.ThroughputHook"),
    collapse_monitor=dict(type="mmdino.CollapseMonitorHook"),
    feature_drop=dict(type="mmdino.FeatureDropHook"),
    training_figure=dict(type="mmdino.TrainingFigureHook"),
)

# What the log line averages over its interval; other metrics are those of its last iteration.
log_processor = dict(
    window_size=50,
    mean_pattern=r".*(loss|time|grad_norm|ce_over_lnk|entropy|kl|used_prototypes|feature_std"
    r"|dino|ibot|koleo|gram$|nearest_distance|cosine|error|constant).*",
)
