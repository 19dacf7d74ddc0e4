"""Random state that follows from the iteration count."""

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

    A resumed run then draws what an uninterrupted one would have drawn (stochastic depth, dropout),
    whatever validation or loaders have drawn in between. Views have seeds of their own, see
    ``EpochSampler``.

    Example:
        >>> custom_hooks = [dict(type="mmdino.IterationSeedHook")]
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the generators."""
        seeds = np.random.SeedSequence((runner.seed, runner.iter, get_rank()))
        seed = int(seeds.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
