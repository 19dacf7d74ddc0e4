"""Every shipped config loads, and everything it names can be built."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import (
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    RUNNERS,
    STRATEGIES,
    TRANSFORMS,
)

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
PAPER = {
    "dino_vits16": ("deit-small", 16, 800),
    "dino_vits8": ("deit-small", 8, 800),
    "dino_vitb16": ("deit-base", 16, 400),
    "dino_vitb8": ("deit-base", 8, 300),
}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def cfg(request):
    return Config.fromfile(request.param)


def test_model_builds(cfg):
    # What is sharded is gigabytes: shapes without storage. (mmpretrain's ResNet cannot do without.)
    with torch.device("meta" if "strategy" in cfg else "cpu"):
        model = MODELS.build(cfg.model)
    assert model.dino_loss.num_prototypes == model.head.out_channels


def test_everything_named_is_registered(cfg):
    for hook in cfg.default_hooks.values():
        HOOKS.build(dict(hook))
    for step in cfg.train_dataloader.dataset.pipeline:
        assert TRANSFORMS.build(dict(step)) is not None
    assert LOOPS.get(cfg.train_cfg.type) is not None
    if cfg.get("val_evaluator"):
        assert METRICS.build(dict(cfg.val_evaluator)) is not None


@pytest.mark.parametrize("name", PAPER)
def test_paper_configs_have_the_papers_settings(name):
    arch, patch, epochs = PAPER[name]
    cfg = Config.fromfile(next(path for path in CONFIGS if path.stem == name))
    assert cfg.model.backbone.arch == arch
    assert cfg.model.backbone.patch_size == patch
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.model.head.out_channels == 65536
    assert cfg.model.head.norm_last_layer == (arch == "deit-base")
    assert cfg.model.loss.teacher_temp == 0.07
    assert cfg.default_hooks.teacher_temp_warmup.epochs == 30
    assert cfg.default_hooks.ema_teacher.momentum == 0.996
    assert cfg.optim_wrapper.optimizer == {"type": "AdamW", "lr": 0.0005, "weight_decay": 0.04}
    on_eight_gpus = 8 * cfg.train_dataloader.batch_size
    assert on_eight_gpus * cfg.optim_wrapper.get("accumulative_counts", 1) == 1024
    assert cfg.optim_wrapper.clip_grad == {"type": "per_tensor", "max_norm": 3.0}


def test_sharded_config_is_a_vit_l_and_names_its_runner():
    cfg = Config.fromfile(next(path for path in CONFIGS if path.stem == "dino_vitl16_fsdp"))
    with torch.device("meta"):
        backbone = MODELS.build(cfg.model.backbone)
    assert sum(p.numel() for p in backbone.parameters()) == 303_301_632
    assert RUNNERS.get(cfg.runner_type).__name__ == "FlexibleRunner"
    assert STRATEGIES.get(cfg.strategy.type) is not None
    on_eight_gpus = 8 * cfg.train_dataloader.batch_size
    assert on_eight_gpus * cfg.optim_wrapper.accumulative_counts == 1024
