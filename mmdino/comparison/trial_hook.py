"""What a training does differently in a trial: one validation, before its first iteration."""

from __future__ import annotations

import math
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS

STARTED = "trial_started"
"""File in the work dir of a trial that is there once all but the validation has been prepared."""


@HOOKS.register_module()
class TrialHook(Hook):
    """Validates before the first iteration and at no other time, in any loop that counts epochs.

    So a trial measures a validation however long an epoch is, and iterations without validations
    however short it is.
    """

    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        """Notes the end of the start, and validates."""
        runner.train_loop.val_at_start = False
        runner.train_loop.val_begin = math.inf
        Path(runner.work_dir, STARTED).touch()
        runner.val_loop.run()
