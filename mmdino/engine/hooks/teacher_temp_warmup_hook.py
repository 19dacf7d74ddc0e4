"""The teacher's temperature."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmdino.engine.model_access import modules_with
from mmdino.engine.progress import current_epoch, current_step, steps_of_epochs
from mmdino.registry import HOOKS
from mmdino.schedules import linear_warmup
from mmdino.utils.numbers import require_number


@HOOKS.register_module()
class TeacherTempWarmupHook(Hook):
    """Raises the teacher's temperature to the ``teacher_temp`` of the loss, epoch by epoch.

    A high temperature at once is unstable (Caron et al. 2021, appendix D). Lower ``start`` if the
    loss does not come down.

    Args:
        start: Temperature of the first epoch.
        epochs: Length of the warm-up in epochs; 30 in the paper for 0.07. With 0 the temperature is
            that of the loss from the beginning.
        by_step: Whether it rises with each optimiser step (DINOv2), not with each epoch.

    Raises:
        ValueError: If ``start`` is not positive or ``epochs`` is negative.
        TypeError: From the run, if no loss of the model has a teacher temperature.

    Example:
        >>> default_hooks = dict(
        ...     temp_warmup=dict(type="mmdino.TeacherTempWarmupHook", start=0.04, epochs=30))
    """

    def __init__(self, start: float = 0.04, epochs: int = 30, by_step: bool = False) -> None:
        require_number("TeacherTempWarmupHook", "start", start, above=0)
        require_number("TeacherTempWarmupHook", "epochs", epochs, least=0, whole=True)
        self.start = start
        self.epochs = epochs
        self.by_step = by_step
        self._losses: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        """Finds the losses that have a teacher temperature."""
        self._losses = modules_with(runner, "current_teacher_temp", self)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Sets the temperature of the epoch or of the step."""
        now, length = current_epoch(runner), self.epochs
        if self.by_step:
            now, length = current_step(runner), steps_of_epochs(runner, self.epochs)
        for loss in self._losses:
            loss.current_teacher_temp = linear_warmup(now, length, self.start, loss.teacher_temp)
        # Once, where two losses have one: a history is one value an iteration.
        temperature = self._losses[0].current_teacher_temp
        runner.message_hub.update_scalar("train/teacher_temp", temperature)
