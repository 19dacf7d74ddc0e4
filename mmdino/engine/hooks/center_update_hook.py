"""The centre's update."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.progress import dino_model, took_step
from mmdino.models.dino import CENTER_UPDATE
from mmdino.registry import HOOKS


@HOOKS.register_module()
class CenterUpdateHook(Hook):
    """Moves the centre of :class:`DINOLoss` after each optimiser step.

    The mean is that of all micro-batches of the step on all ranks; the loss of the step has used
    the old centre. A step that the gradient scaler skips does not count. The momentum is an
    argument of the loss, whose state dict holds the centre.

    Args:
        overlap: Whether the sum over the ranks runs beside the backward pass of a step's last
            micro-batch. The centre is the same.

    Raises:
        TypeError: If the model is not DINO, or the optimiser wrapper does not tell its steps.

    Example:
        >>> custom_hooks = [dict(type="mmdino.CenterUpdateHook")]
    """

    def __init__(self, overlap: bool = True) -> None:
        self.overlap = overlap

    def before_train(self, runner: Runner) -> None:
        """Tells the model that its centre is taken care of."""
        took_step(runner.optim_wrapper)
        dino_model(runner, self).declare_updated_by(CENTER_UPDATE)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Tells the loss whether the micro-batch completes its step."""
        loss = dino_model(runner, self).dino_loss
        loss.last_of_step = self.overlap and runner.optim_wrapper.should_sync()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Moves the centre if the optimiser took a step, or forgets a step that was skipped."""
        loss = dino_model(runner, self).dino_loss
        if took_step(runner.optim_wrapper):
            loss.update_center()
        elif runner.optim_wrapper.should_update():
            loss.discard_pending()
