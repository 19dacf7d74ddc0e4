"""A run on a folder of images by ``mmdino.pretrain``, small enough for a test."""

from __future__ import annotations

import pytest

import mmdino
from mmdino.folder_recipe import prepare as module
from mmdino.folder_recipe import rate

SMALL = {
    "model.backbone.arch.embed_dims": 12,
    "model.backbone.arch.num_layers": 1,
    "model.backbone.arch.num_heads": 2,
    "model.backbone.arch.feedforward_channels": 24,
    "model.head.in_channels": 12,
    "model.head.hidden_channels": 8,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_cfg.bank_dataloader.num_workers": 0,
    "default_hooks.training_figure": None,
    "env_cfg.cudnn_benchmark": False,
    "log_level": "ERROR",
}


def pretrain(root, **options):
    """Pretrains on the images of a folder, with a short trial of the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "measure_rate", lambda cfg: rate.measure_rate(cfg, seconds=0))
        return mmdino.pretrain(root / "images", root / "run", size="tiny", **options)
