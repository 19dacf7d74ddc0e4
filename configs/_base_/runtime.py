# What all runs have in common; each kind of run adds its scope and its hooks.
env_cfg = dict(
    cudnn_benchmark=True,
    # OpenCV's own threads would fight with the loader's workers for the cores.
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    # tools/train.py changes the backend to gloo where there is no GPU.
    dist_cfg=dict(backend="nccl"),
)
default_hooks = dict(runtime_info=dict(type="mmdino.RuntimeInfoHook"))
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="UniversalVisualizer", vis_backends=vis_backends)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)
