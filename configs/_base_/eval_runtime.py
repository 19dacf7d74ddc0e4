# What linear evaluation and fine-tuning share. mmpretrain's names stay unprefixed; those of this
# package begin with "mmdino.".
default_scope = "mmpretrain"

default_hooks = dict(
    logger=dict(type="LoggerHook", interval=50),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=1),
    checkpoint_match=dict(type="mmdino.CheckpointMatchHook"),
    iteration_seed=dict(type="mmdino.IterationSeedHook"),
    finite_loss=dict(type="mmdino.FiniteLossHook"),
    unreadable_images=dict(type="mmdino.UnreadableImagesHook", limit=100),
    throughput=dict(type="mmdino.ThroughputHook"),
    class_count=dict(type="mmdino.ClassCountHook"),
)

env_cfg = dict(
    cudnn_benchmark=True,
    # OpenCV's own threads would fight with the loader's workers for the cores.
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    # tools/train.py changes the backend to gloo where there is no GPU.
    dist_cfg=dict(backend="nccl"),
)
log_processor = dict(window_size=50, mean_pattern=r".*(loss|time|grad_norm|lowest_ce).*")
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="UniversalVisualizer", vis_backends=vis_backends)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)
