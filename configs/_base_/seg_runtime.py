# mmsegmentation's names stay unprefixed; those of this package begin with "mmdino.".
default_scope = "mmseg"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=16000, max_keep_ckpts=3),
    checkpoint_match=dict(type="mmdino.CheckpointMatchHook"),
    class_count=dict(type="mmdino.ClassCountHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)

# Over several GPUs batch norms become synchronised; alone, or on a CPU, they stay plain.
sync_bn = "torch"

env_cfg = dict(
    cudnn_benchmark=True,
    # OpenCV's own threads would fight with the loader's workers for the cores.
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    # tools/train.py changes the backend to gloo where there is no GPU.
    dist_cfg=dict(backend="nccl"),
)
log_processor = dict(by_epoch=False)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)
