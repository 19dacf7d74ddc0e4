"""The centre's update."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.model_access import mark_met, modules_with
from mmdino.engine.progress import took_step
from mmdino.models import CenteredLoss
from mmdino.registry import HOOKS


@HOOKS.register_module()
class CenterUpdateHook(Hook):
    """Moves the centre of every :class:`CenteredLoss` of the model after each optimiser step.

    The mean is that of all micro-batches of the step on all ranks; the loss of the step has used
    the old centre. A step that the gradient scaler skips does not count. The momentum is an
    argument of the loss, whose state dict holds the centre. Losses whose targets use no centre are
    left alone.

    Raises:
        TypeError: From the run, if the model has no such loss, or the optimiser wrapper does not
            tell its steps.

    Example:
        >>> default_hooks = dict(center_update=dict(type="mmdino.CenterUpdateHook"))
    """

    def __init__(self) -> None:
        self._losses: list[CenteredLoss] = []

    def before_train(self, runner: Runner) -> None:
        """Finds the losses."""
        took_step(runner.optim_wrapper)
        losses = modules_with(runner, "needs_center_update", self)
        self._losses = [loss for loss in losses if loss.needs_center_update]
        mark_met(runner, "center")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tells the losses whether the micro-batch completes its step."""
        for loss in self._losses:
            loss.last_of_step = runner.optim_wrapper.should_sync()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Moves the centres if the optimiser took a step, or drops a step that was skipped."""
        for loss in self._losses:
            if took_step(runner.optim_wrapper):
                loss.update_center()
            elif runner.optim_wrapper.should_update():
                loss.discard_pending()
