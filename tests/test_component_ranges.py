"""What each component says of a number that it cannot work with."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import FUNCTIONS, HOOKS, MODELS, PARAM_SCHEDULERS, TRANSFORMS

INF, NAN = float("inf"), float("nan")
FRACTION, COUNT, RATE = (0.5, "a", True), (0, -1, 1.5, "a"), (-0.1, 1.0, 2, NAN, INF, "a")
HEAD = {"type": "mmdino.DINOHead", "in_channels": 8}
PROBES = {"type": "mmdino.LinearProbeHead", "in_channels": 8, "num_classes": 2}
LOSS = {"type": "mmdino.DINOLoss", "num_prototypes": 8}
MSE = {"type": "mmdino.DINOMSELoss", "num_prototypes": 8}
SIMCLR, MOCO, BARLOW = (
    {"type": f"mmdino.{name}"} for name in ("SimCLRLoss", "MoCoV3Loss", "BarlowTwinsLoss")
)
SWAV = {"type": "mmdino.SwAVLoss", "num_prototypes": 8, "in_channels": 8}
IBOT = {"type": "mmdino.IBOTLoss", "num_prototypes": 8}
KOLEO = {"type": "mmdino.KoLeoLoss", "over_ranks": True}
MASKS = {
    "type": "mmdino.BlockMasks",
    "batch": [{"inputs": [torch.zeros(3, 16, 16)] * 2}],
    "view_size": 16,
    "patch_size": 4,
}
ARCH = {"embed_dims": 8, "num_layers": 1, "num_heads": 2, "feedforward_channels": 8}
VIT = {"type": "mmdino.VisionTransformer", "arch": ARCH, "img_size": 8, "patch_size": 4}
ANCHOR = {"type": "mmdino.GramAnchor", "backbone": VIT}
ROTARY = {"type": "mmdino.RotaryPositions"}
RELATIVE = {"type": "mmdino.RelativePositionBias", "num_heads": 2}
FEATURE = {"type": "mmdino.FeatureLoss"}
NORM = {"type": "mmdino.BatchNormNeck"}
PREPROCESSOR = {"type": "mmdino.MultiViewPreprocessor", "mean": [0.0], "std": [1.0]}
SEG_MAP = {"type": "mmdino.CheckSegMap", "num_classes": 2}
IGNORE = {"type": "mmdino.IgnoreSegIds", "ids": [1]}
LR, DECAY = {"type": "mmdino.WarmupCosineLR"}, {"type": "mmdino.CosineWeightDecay"}
EMA, FREEZE, GRAM, QUEUE, WARMUP, MONITOR, SPEED, REPORT = (
    {"type": f"mmdino.{name}"}
    for name in (
        "EMATeacherHook",
        "LastLayerFreezeHook",
        "GramAnchorHook",
        "QueueStartHook",
        "TeacherTempWarmupHook",
        "CollapseMonitorHook",
        "ThroughputHook",
        "ReportHook",
    )
)
RANGES = [
    (MODELS, HEAD, "out_channels", (1, *COUNT), "a whole number at least 2"),
    (MODELS, HEAD, "in_channels", COUNT, "a whole number at least 1"),
    (MODELS, HEAD, "num_layers", COUNT, "a whole number at least 1"),
    (MODELS, HEAD, "hidden_channels", COUNT, "a whole number at least 1"),
    (MODELS, HEAD, "bottleneck_channels", COUNT, "a whole number at least 1"),
    (MODELS, PROBES, "num_classes", COUNT, "a whole number at least 1"),
    (MODELS, PROBES, "lrs", (0, -1.0, NAN, INF, "a"), "a finite number above 0"),
    (MODELS, LOSS, "num_prototypes", (1, *COUNT), "a whole number at least 2"),
    (MODELS, LOSS, "student_temp", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, LOSS, "teacher_temp", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, LOSS, "center_momentum", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (MODELS, LOSS, "chunk", COUNT, "a whole number at least 1"),
    (MODELS, LOSS, "sinkhorn_iterations", COUNT, "a whole number at least 1"),
    (MODELS, MSE, "num_prototypes", (1, *COUNT), "a whole number at least 2"),
    (MODELS, MSE, "student_temp", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, MSE, "teacher_temp", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, MSE, "center_momentum", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (MODELS, SIMCLR, "temperature", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, MOCO, "temperature", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, BARLOW, "lambd", (-0.1, NAN, INF, "a", None), "a finite number at least 0"),
    (MODELS, SWAV, "num_prototypes", (1, *COUNT), "a whole number at least 2"),
    (MODELS, SWAV, "in_channels", COUNT, "a whole number at least 1"),
    (MODELS, SWAV, "temperature", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, SWAV, "epsilon", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, SWAV, "sinkhorn_iterations", COUNT, "a whole number at least 1"),
    (MODELS, SWAV, "queue_length", (-1, *FRACTION), "a whole number at least 0"),
    (MODELS, SWAV, "num_global_views", COUNT, "a whole number at least 1"),
    (MODELS, IBOT, "num_prototypes", (1, *COUNT), "a whole number at least 2"),
    (MODELS, IBOT, "student_temp", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, IBOT, "teacher_temp", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, IBOT, "center_momentum", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (MODELS, IBOT, "chunk", COUNT, "a whole number at least 1"),
    (MODELS, IBOT, "sinkhorn_iterations", COUNT, "a whole number at least 1"),
    (MODELS, KOLEO, "top_k", COUNT, "a whole number at least 1"),
    (MODELS, KOLEO, "group_size", (1, *COUNT), "a whole number above 1"),
    (MODELS, ANCHOR, "weight", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (FUNCTIONS, MASKS, "view_size", COUNT, "a whole number at least 1"),
    (FUNCTIONS, MASKS, "patch_size", COUNT, "a whole number at least 1"),
    (FUNCTIONS, MASKS, "num_global_views", COUNT, "a whole number at least 1"),
    (FUNCTIONS, MASKS, "probability", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (FUNCTIONS, MASKS, "ratio", ((0.1, 1.5), (-0.1, 0.5), (NAN, 0.5)), "at least 0 and at most 1"),
    (MODELS, VIT, "drop_path_rate", RATE, "a finite number at least 0 and below 1"),
    (MODELS, VIT, "drop_rate", RATE, "a finite number at least 0 and below 1"),
    (MODELS, VIT, "patch_size", COUNT, "a whole number at least 1"),
    (MODELS, VIT, "in_channels", COUNT, "a whole number at least 1"),
    (MODELS, VIT, "num_registers", (-1, *FRACTION), "a whole number at least 0"),
    (MODELS, VIT, "layer_scale_init_value", (NAN, INF, "a"), "a finite number"),
    (MODELS, VIT, "pos_embed_offset", (-1, 1, NAN, "a"), "at least 0 and below 1"),
    (MODELS, VIT, "token_std", (-1, NAN, INF, "a"), "a finite number at least 0"),
    (MODELS, ROTARY, "head_dims", COUNT, "a whole number at least 4"),
    (MODELS, ROTARY, "base", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, ROTARY, "shift", (-0.1, NAN, INF, "a"), "a finite number at least 0"),
    (MODELS, ROTARY, "jitter", (0.9, NAN, INF, "a"), "a finite number at least 1"),
    (MODELS, ROTARY, "rescale", (0, NAN, INF, "a"), "a finite number at least 1"),
    (MODELS, RELATIVE, "num_heads", COUNT, "a whole number at least 1"),
    (MODELS, RELATIVE, "grid", ([0, 2], [2, 1.5], *COUNT), "a whole number at least 1"),
    (MODELS, RELATIVE, "num_extra_tokens", (-1, *FRACTION), "a whole number at least 0"),
    (MODELS, FEATURE, "beta", (0, -1, NAN, INF, "a", None), "a finite number above 0"),
    (MODELS, NORM, "in_channels", ([0], [1.5]), "a whole number at least 1"),
    (MODELS, PREPROCESSOR, "std", ([0.0], [-1.0], [INF], ["a"]), "a finite number above 0"),
    (MODELS, PREPROCESSOR, "mean", ([NAN], ["a"]), "a finite number"),
    (PARAM_SCHEDULERS, LR, "warmup", (-1, *FRACTION), "a whole number at least 0"),
    (PARAM_SCHEDULERS, LR, "end_lr", (-1, NAN, INF, "a"), "a finite number at least 0"),
    (PARAM_SCHEDULERS, LR, "end_ratio", (-1, NAN, INF, "a"), "a finite number at least 0"),
    (PARAM_SCHEDULERS, LR, "start_ratio", (-1, NAN, INF, "a", None), "a finite number at least 0"),
    (PARAM_SCHEDULERS, DECAY, "end_value", (-1, NAN, INF, "a"), "a finite number at least 0"),
    (HOOKS, EMA, "momentum", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (HOOKS, EMA, "end_momentum", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (HOOKS, FREEZE, "epochs", (-1, *FRACTION), "a whole number at least 0"),
    (HOOKS, FREEZE, "steps", (-1, *FRACTION), "a whole number at least 0"),
    (HOOKS, GRAM, "start", (-1, *FRACTION, None), "a whole number at least 0"),
    (HOOKS, GRAM, "warmup", (-1, *FRACTION, None), "a whole number at least 0"),
    (HOOKS, GRAM, "first_refresh", (-1, *FRACTION), "a whole number at least 0"),
    (HOOKS, GRAM, "refresh_interval", COUNT, "a whole number at least 1"),
    (HOOKS, GRAM, "max_refreshes", COUNT, "a whole number at least 1"),
    (HOOKS, GRAM, "local_weight", (-0.1, NAN, INF, "a", None), "a finite number at least 0"),
    (HOOKS, QUEUE, "epochs", (-1, *FRACTION), "a whole number at least 0"),
    (HOOKS, WARMUP, "epochs", (-1, *FRACTION), "a whole number at least 0"),
    (HOOKS, WARMUP, "start", (0, -1, NAN, INF, "a"), "a finite number above 0"),
    (HOOKS, MONITOR, "interval", COUNT, "a whole number at least 1"),
    (HOOKS, MONITOR, "patience", COUNT, "a whole number at least 1"),
    (HOOKS, MONITOR, "margin", (0, 0.5, NAN, "a"), "above 0 and below 0.5"),
    (HOOKS, MONITOR, "min_spread", (0, 1, NAN, "a"), "above 0 and below 1"),
    (HOOKS, REPORT, "num_images", (-1, 1.5, "a"), "a whole number at least 0"),
    (HOOKS, REPORT, "pool", (1, *COUNT), "a whole number at least 2"),
    (HOOKS, REPORT, "num_neighbours", COUNT, "a whole number at least 1"),
    (HOOKS, SPEED, "window", COUNT, "a whole number at least 1"),
    (HOOKS, SPEED, "advise_above", (-0.1, 1.1, NAN, "a"), "at least 0 and at most 1"),
    (TRANSFORMS, SEG_MAP, "num_classes", COUNT, "a whole number at least 1"),
    (TRANSFORMS, SEG_MAP, "ignore_index", (-1, 256, 0.5), "at least 0 and at most 255"),
    (TRANSFORMS, IGNORE, "ids", ([256], [-1], [0.5]), "at least 0 and at most 255"),
]
ROWS = [
    pytest.param(registry, {**cfg, name: value}, name, expected, id=f"{cfg['type']}-{name}-{value}")
    for registry, cfg, name, values, expected in RANGES
    for value in values
]


@pytest.mark.parametrize(("registry", "cfg", "name", "expected"), ROWS)
def test_number_out_of_range_is_named_with_what_is_allowed(registry, cfg, name, expected):
    with pytest.raises((ValueError, TypeError)) as found:
        registry.build(cfg)
    message = str(found.value)
    assert message.startswith(f"{cfg['type'].removeprefix('mmdino.')} got {name}")
    assert expected in message


@pytest.mark.parametrize("heads", [3, 16])
def test_heads_that_do_not_divide_the_width_are_refused(heads):
    with pytest.raises(ValueError, match=f"{heads} heads for a width of 8; .* a multiple of"):
        MODELS.build({**VIT, "arch": {**ARCH, "num_heads": heads}})


@pytest.mark.parametrize("name", ARCH)
@pytest.mark.parametrize("value", COUNT)
def test_sizes_of_a_network_are_whole_numbers(name, value):
    with pytest.raises((ValueError, TypeError), match=rf"arch\.{name}=.*a whole number at least 1"):
        MODELS.build({**VIT, "arch": {**ARCH, name: value}})
