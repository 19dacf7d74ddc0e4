"""Each ablation differs from its base in what it says, can be built, and trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import HOOKS, MODELS, TRANSFORMS
from tiny_configs import read_config
from tiny_pretraining import arguments, assert_trained, main, write_images

FOLDER = Path(__file__).parents[2] / "configs" / "ablations"
LONG, SHORT = "../dino_vits16_300ep", "../dino_vits16_100ep"
TEACHER = "default_hooks.ema_teacher.update"
WARMUP, CENTER = "default_hooks.teacher_temp_warmup", "default_hooks.center_update"
LOSS, HEAD = "model.loss", "model.head"
VIEWS = {"train_pipeline", "train_dataloader.dataset.pipeline"}
BATCH = {"train_dataloader.batch_size"}
ABLATIONS = {
    "dino_teacher_previous_epoch": (LONG, {TEACHER}),
    "dino_teacher_previous_iteration": (LONG, {TEACHER}),
    "dino_teacher_student_copy": (LONG, {TEACHER}),
    "dino_loss_mse": (LONG, {LOSS, WARMUP}),
    "dino_loss_infonce": (LONG, {LOSS, WARMUP, CENTER}),
    "dino_targets_sinkhorn": (LONG, {f"{LOSS}.targets"}),
    "dino_targets_softmax_batch": (LONG, {f"{LOSS}.targets", f"{LOSS}.sinkhorn_iterations"}),
    "dino_without_centering": (SHORT, {f"{LOSS}.targets"}),
    "dino_without_sharpening": (SHORT, {f"{LOSS}.teacher_temp"}),
    "dino_with_predictor": (LONG, {f"{HEAD}.predictor"}),
    "dino_without_multicrop": (LONG, VIEWS),
    **{f"dino_crops_{num}x96": (LONG, VIEWS) for num in (2, 6, 10)},
    **{f"dino_crop_scale_{scale}": (SHORT, VIEWS) for scale in ("008", "016", "024", "032", "048")},
    "dino_head_batch_norm": (SHORT, {f"{HEAD}.use_bn"}),
    **{
        f"dino_prototypes_{num}": (SHORT, {f"{HEAD}.out_channels"})
        for num in (1024, 4096, 16384, 262144)
    },
    **{f"dino_head_{n}layers": ("dino_prototypes_4096", {f"{HEAD}.num_layers"}) for n in (2, 3)},
    **{
        f"dino_bottleneck_{width}": (SHORT, {f"{HEAD}.bottleneck_channels"})
        for width in (64, 128, 512)
    },
    "dino_patch8": (LONG, {"model.backbone.patch_size"}),
    "dino_batch_1024": ("dino_without_multicrop", {"train_cfg.max_epochs"}),
    **{f"dino_batch_{size}": ("dino_batch_1024", BATCH) for size in (128, 256, 512)},
}
"""The base of each config, and the keys in which it differs."""
CHANGED_PARTS = [
    "dino_teacher_previous_epoch",
    "dino_teacher_previous_iteration",
    "dino_teacher_student_copy",
    "dino_loss_mse",
    "dino_loss_infonce",
    "dino_targets_sinkhorn",
    "dino_targets_softmax_batch",
    "dino_without_centering",
    "dino_with_predictor",
    "dino_without_multicrop",
    "dino_head_batch_norm",
]
"""The configs in which another part runs, and not the same with other numbers."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return write_images(tmp_path_factory.mktemp("images"))


def path_of(name):
    return (FOLDER / name).with_suffix(".py")


def differences(found, base, prefix=""):
    """Dotted keys that two configs do not share with equal values.

    Dicts of one type are compared key by key; of a dict that is new, gone or of another type, only
    its own key is named.
    """
    keys = set()
    for key in found.keys() | base.keys():
        one, other = found.get(key), base.get(key)
        if (
            isinstance(one, dict)
            and isinstance(other, dict)
            and one.get("type") == other.get("type")
        ):
            keys |= differences(one, other, f"{prefix}{key}.")
        elif one != other or (key in found) != (key in base):
            keys.add(f"{prefix}{key}")
    return keys


def test_every_config_is_in_the_table():
    assert {path.stem for path in FOLDER.glob("*.py")} == ABLATIONS.keys()


@pytest.mark.parametrize("name", ABLATIONS)
def test_differs_from_its_base_in_what_it_says(name):
    base, keys = ABLATIONS[name]
    cfg, base_cfg = read_config(path_of(name)), read_config(path_of(base))
    assert differences(cfg.to_dict(), base_cfg.to_dict()) == keys


@pytest.mark.parametrize("name", ABLATIONS)
def test_builds(name):
    cfg = read_config(path_of(name))
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    prototypes = getattr(model.dino_loss, "num_prototypes", None)
    assert prototypes in (None, model.head.out_channels)
    for hook in cfg.default_hooks.values():
        assert hook is None or HOOKS.build(dict(hook))
    for step in cfg.train_dataloader.dataset.pipeline:
        assert TRANSFORMS.build(dict(step)) is not None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in CHANGED_PARTS else pytest.mark.slow)
        for name in ABLATIONS
    ],
)
def test_trains(name, images, tmp_path):
    path = path_of(name)
    main(arguments(path, images, tmp_path))
    assert_trained(path, tmp_path)


def views_of(name):
    """Number, side and scale of each group of views."""
    pipeline = read_config(path_of(name)).train_dataloader.dataset.pipeline
    (crops,) = [step for step in pipeline if step.type == "mmdino.MultiCropTransform"]
    return [(g.num, g.size[0], g.scale) for g in TRANSFORMS.build(dict(crops)).groups]


@pytest.mark.parametrize("num", [2, 6, 10])
def test_crop_counts_are_those_of_the_paper(num):
    assert views_of(f"dino_crops_{num}x96") == [
        (1, 224, (0.25, 1.0)),
        (1, 224, (0.25, 1.0)),
        (num, 96, (0.05, 0.25)),
    ]


@pytest.mark.parametrize("scale", [0.08, 0.16, 0.24, 0.32, 0.48])
def test_scales_do_not_overlap(scale):
    name = f"dino_crop_scale_{round(100 * scale):03d}"
    globals_ = [(1, 224, (scale, 1.0))] * 2
    assert views_of(name) == [*globals_, (6, 96, (0.05, scale))]


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_batches_are_those_of_eight_gpus(size):
    cfg = read_config(path_of(f"dino_batch_{size}"))
    assert 8 * cfg.train_dataloader.batch_size == size
    assert cfg.train_cfg.max_epochs == 100
    assert len(views_of(f"dino_batch_{size}")) == 2
