"""A hook for a config to import, which kills a rank as the system does where memory is short."""

from __future__ import annotations

import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillingHook(Hook):
    """Kills its process before an iteration.

    Args:
        rank: Rank to kill.
        iteration: Number of iterations before.
    """

    def __init__(self, rank, iteration):
        self.rank = rank
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.rank, runner.iter) == (self.rank, self.iteration):
            os.kill(os.getpid(), signal.SIGKILL)
