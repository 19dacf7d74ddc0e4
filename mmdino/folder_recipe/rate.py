"""How fast a config trains on this machine, by trying a few steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdino.comparison.measuring import build_model
from mmdino.evaluation.features import predict_features, predict_view_features

WARM_UP = 2
"""Steps before the clock starts: the first ones allocate memory and start the loader."""
MIN_STEPS = 3


class Rate(NamedTuple):
    """What takes how long."""

    step: float
    """Seconds for a batch, with its loading."""
    steps: int
    """Steps that were timed."""
    batches: int
    """Batches in an epoch."""
    validation: float
    """Seconds for a validation, estimated from its first batch; 0 if there is none."""


def measure_rate(cfg: Config, seconds: float = 8.0) -> Rate:
    """Trains for some steps, as the run will, and forgets what was learned.

    Args:
        cfg: The config, checked.
        seconds: How long to time steps; at least ``MIN_STEPS`` are.
    """
    init_default_scope(cfg.get("default_scope") or "mmengine")
    model = build_model(cfg).to(get_device()).train()
    for need in model.needs:
        model.mark_met(need)  # its hooks, which a few steps can do without
    with _warnings_only():
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = _endless(loader)
    for _ in range(WARM_UP):
        model.train_step(next(batches), optim_wrapper)
    _wait()
    start, steps = time.perf_counter(), 0
    while steps < MIN_STEPS or time.perf_counter() - start < seconds:
        model.train_step(next(batches), optim_wrapper)
        _wait()
        steps += 1
    step = (time.perf_counter() - start) / steps
    return Rate(step, steps, len(loader), _validation_seconds(model, cfg))


def _validation_seconds(model: torch.nn.Module, cfg: Config) -> float:
    if cfg.get("val_cfg") is None:
        return 0.0
    loader_cfg = cfg.val_dataloader.copy()
    loader_cfg.num_workers = 0
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    bank = cfg.val_cfg.get("bank_dataloader")
    predict = predict_features if bank else predict_view_features
    model.eval()
    start = time.perf_counter()
    with torch.no_grad():
        predict(model, next(iter(loader)))
    _wait()
    batch = time.perf_counter() - start
    batches = len(loader) + (len(Runner.build_dataloader(bank, seed=0)) if bank else 0)
    return batch * batches


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Keeps information out of the log, where the run itself will have it."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
