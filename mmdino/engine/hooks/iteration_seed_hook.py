"""Seeding of the random generators per iteration."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.model_access import bare_model
from mmdino.registry import HOOKS

BLOCK = 64
"""Iterations whose seeds are computed together, which takes a fraction of the time."""


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, NumPy and torch before each iteration from run seed, iteration and rank.

    So a resumed run has the same stochastic depth and dropout as an uninterrupted one, regardless
    of what validation and data loaders draw. Views are seeded separately, see ``EpochSampler``.

    Example:
        >>> custom_hooks = [dict(type="mmdino.IterationSeedHook")]
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._on_cpu = False

    def before_train(self, runner: Runner) -> None:
        """Notes the device, whose generators are seeded too."""
        parameters = bare_model(runner).parameters()
        self._on_cpu = all(parameter.device.type == "cpu" for parameter in parameters)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the global generators."""
        block, place = divmod(runner.iter, BLOCK)
        seed = _seeds(runner.seed, block, get_rank())[place]
        random.seed(seed)
        np.random.seed(seed)
        if self._on_cpu:
            # What torch.manual_seed does for the CPU. For devices that are not there it takes
            # longer than all else that is done here.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)


@lru_cache(maxsize=1)
def _seeds(run_seed: int, block: int, rank: int) -> list[int]:
    """Returns the seeds of the iterations of a block on a rank."""
    iterations = range(block * BLOCK, (block + 1) * BLOCK)
    sequences = (np.random.SeedSequence((run_seed, number, rank)) for number in iterations)
    return [int(sequence.generate_state(1)[0]) for sequence in sequences]
