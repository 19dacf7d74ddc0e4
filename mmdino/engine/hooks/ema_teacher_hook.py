"""The teacher's update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.engine.model_access import bare_model, mark_met
from mmdino.engine.progress import current_step, num_steps, took_step
from mmdino.registry import HOOKS
from mmdino.schedules import cosine
from mmdino.utils.numbers import require_number


@HOOKS.register_module()
class EMATeacherHook(Hook):
    """Moves the teacher after each optimiser step: teacher = m * teacher + (1 - m) * student.

    m rises from ``momentum`` to ``end_momentum`` on half a cosine over all steps (Caron et al.
    2021, section 3.1). Parameters only: the teacher's batch-norm statistics come from its own
    forward passes. A step that the gradient scaler skips does not move the teacher.

    Args:
        momentum: m at the first step, as the paper defines it (mmengine's "momentum" is 1 - m).
            The paper has 0.996 for a batch of 1024; small batches need more, 0.9995 at 256.
        end_momentum: m after the last step.

    Raises:
        ValueError: If a momentum is outside [0, 1].
        TypeError: From the run, if the model has no teacher to move, or the optimiser wrapper does
            not tell its steps.

    Example:
        >>> default_hooks = dict(ema_teacher=dict(type="mmdino.EMATeacherHook", momentum=0.996))
    """

    def __init__(self, momentum: float = 0.996, end_momentum: float = 1.0) -> None:
        for name, value in (("momentum", momentum), ("end_momentum", end_momentum)):
            advice = (
                "It is the weight of the old teacher: 0.996 in the paper, 0.004 in mmengine's "
                "terms."
            )
            require_number("EMATeacherHook", name, value, least=0, most=1, advice=advice)
        self.momentum = momentum
        self.end_momentum = end_momentum
        self._teacher: list[Tensor] = []
        self._student: list[Tensor] = []

    def before_train(self, runner: Runner) -> None:
        """Pairs the parameters of teacher and student."""
        model = bare_model(runner)
        if "teacher" not in getattr(model, "needs", ()):
            raise TypeError(
                "EMATeacherHook moves a teacher of moving averages, but the run trains a "
                f"{type(model).__name__} without one. Switch the hook off "
                "(default_hooks.ema_teacher=None), or set model.teacher='ema'."
            )
        took_step(runner.optim_wrapper)
        mark_met(runner, "teacher")
        self._teacher, self._student = model.teacher_pairs()
        if self.momentum < 0.5:
            runner.logger.warning(
                f"EMATeacherHook has momentum={self.momentum}: the teacher is almost the student. "
                "The momentum is the weight of the old teacher; what mmengine would call "
                f"{self.momentum} is {1 - self.momentum} here."
            )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Moves the teacher if the optimiser moved the student."""
        if not took_step(runner.optim_wrapper):
            return
        momentum = cosine(current_step(runner), num_steps(runner), self.momentum, self.end_momentum)
        move_teacher_(self._teacher, self._student, momentum)
        runner.message_hub.update_scalar("train/teacher_momentum", momentum)


@torch.no_grad()
def move_teacher_(teacher: Sequence[Tensor], student: Sequence[Tensor], momentum: float) -> None:
    """Sets each teacher tensor to momentum * teacher + (1 - momentum) * student, in one call."""
    torch._foreach_lerp_(list(teacher), list(student), 1 - momentum)
