"""Seeding of the random generators per iteration."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, NumPy and torch before each iteration from run seed, iteration and rank.

    So a resumed run has the same stochastic depth and dropout as an uninterrupted one, regardless
    of what validation and data loaders draw. Views are seeded separately, see ``EpochSampler``.

    Example:
        >>> custom_hooks = [dict(type="mmdino.IterationSeedHook")]
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the global generators."""
        seeds = np.random.SeedSequence((runner.seed, runner.iter, get_rank()))
        seed = int(seeds.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
