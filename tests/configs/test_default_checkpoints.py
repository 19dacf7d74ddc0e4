"""What evaluations start from by default is what the pretraining of that name leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / "configs"
EVALUATIONS = sorted(
    path for name in ("linear", "finetune", "ade20k", "camvid") for path in (ROOT / name).glob("*")
)


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
