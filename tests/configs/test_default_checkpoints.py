"""Evaluations start from what the pretraining of that name leaves, or from the authors' file."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / "configs"
ALL = sorted(
    path for name in ("linear", "finetune", "ade20k", "camvid") for path in (ROOT / name).glob("*")
)
RELEASED = [path for path in ALL if path.stem.startswith(("dinov2", "dinov3"))]
EVALUATIONS = [path for path in ALL if path not in RELEASED]


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_a_checkpoint_of_the_pretraining_config_is_the_default(path):
    cfg = Config.fromfile(path)
    backbone = cfg.model.backbone.get("backbone", cfg.model.backbone)
    place = Path(backbone.init_cfg.checkpoint)
    assert cfg.checkpoint == str(place), "the knob is the checkpoint"
    folder, name = place.parts[1:]
    pretraining = Config.fromfile(ROOT / f"{folder}.py")
    assert path.stem.startswith(folder.removeprefix("dino_").removesuffix("_cifar10"))
    assert name == f"epoch_{pretraining.train_cfg.max_epochs}.pth"
    assert backbone.type == pretraining.model.backbone.type
    for key in {"arch", "patch_size", "depth"} & set(pretraining.model.backbone):
        assert backbone[key] == pretraining.model.backbone[key]


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_the_authors_file_of_that_network_is_the_default(path):
    cfg = Config.fromfile(path)
    network, _, size = cfg.checkpoint.partition("_pretrain")[0].partition("_vits")
    assert path.stem.startswith(f"{network}_vits{size}_")
    assert cfg.model.backbone.backbone.init_cfg.checkpoint == cfg.checkpoint
    assert cfg.model.backbone.backbone.patch_size == int(size)
