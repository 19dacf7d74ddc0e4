"""Runs whose training is pretended by tests/scripts/pretended_training.py."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmdino.comparison.methods import Method
from mmdino.comparison.plan import Run

SCRIPT = Path(__file__).parent / "scripts" / "pretended_training.py"


def method(config="works", name=None, **options):
    """A method of one epoch of two iterations with four images each, if nothing else is said."""
    cfg = {"train_cfg": {"type": "mmdino.ResumableTrainLoop", "val_interval": 2}}
    cfg["optim_wrapper"] = {"type": "OptimWrapper"}
    sizes = {"epochs": 1, "iterations_per_epoch": 2, "images_per_epoch": 8} | options
    return Method(name or config, config, (), Config(cfg), **sizes)


def run(folder, config="works", seed=0, **options):
    """A run of :func:`method`."""
    of = method(config, **options)
    return Run(of, seed, folder / of.name / f"seed_{seed}")
