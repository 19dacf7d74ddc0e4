"""The teacher's update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.engine.model_access import bare_model, mark_met
from mmdino.engine.progress import current_step, num_steps, took_step
from mmdino.registry import HOOKS
from mmdino.schedules import cosine
from mmdino.utils.numbers import require_number

UPDATES = ("momentum", "previous_epoch", "previous_iteration", "student_copy")


@HOOKS.register_module()
class EMATeacherHook(Hook):
    """Moves the teacher after each optimiser step: teacher = m * teacher + (1 - m) * student.

    m rises from ``momentum`` to ``end_momentum`` on half a cosine over all steps (Caron et al.
    2021, section 3.1). Parameters only: the teacher's batch-norm statistics come from its own
    forward passes. A step that the gradient scaler skips does not move the teacher.

    The other updates are the paper's ablations of the teacher (figure 6). Their teachers are
    weights that the student had, which at the first step are its first ones:

    * ``"previous_epoch"``: those at the end of the last complete epoch. If an epoch ends within an
      accumulation, those after its step;
    * ``"previous_iteration"``: those before the last optimiser step. Holds one more copy of the
      student's parameters;
    * ``"student_copy"``: its present ones.

    Args:
        momentum: m at the first step, as the paper defines it (mmengine's "momentum" is 1 - m).
            The paper has 0.996 for a batch of 1024; small batches need more, 0.9995 at 256. For
            ``update="momentum"`` only, as is ``end_momentum``.
        end_momentum: m after the last step.
        update: What the teacher becomes after a step.

    Raises:
        ValueError: If a momentum is outside [0, 1], or the update is unknown.
        TypeError: From the run, if the model has no teacher to move, or the optimiser wrapper does
            not tell its steps.

    Example:
        >>> default_hooks = dict(ema_teacher=dict(type="mmdino.EMATeacherHook", momentum=0.996))
    """

    def __init__(
        self,
        momentum: float = 0.996,
        end_momentum: float = 1.0,
        update: Literal[
            "momentum", "previous_epoch", "previous_iteration", "student_copy"
        ] = "momentum",
    ) -> None:
        for name, value in (("momentum", momentum), ("end_momentum", end_momentum)):
            advice = (
                "It is the weight of the old teacher: 0.996 in the paper, 0.004 in mmengine's "
                "terms."
            )
            require_number("EMATeacherHook", name, value, least=0, most=1, advice=advice)
        if update not in UPDATES:
            raise ValueError(f"EMATeacherHook got update={update!r}; it must be one of {UPDATES}.")
        self.momentum = momentum
        self.end_momentum = end_momentum
        self.update = update
        self._teacher: list[Tensor] = []
        self._student: list[Tensor] = []
        self._previous: list[Tensor] = []
        self._epoch_ended = False

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
        if self.update == "momentum":
            self._warn_of_low_momentum(runner)
        else:
            self._start_from_student(runner)

    def _warn_of_low_momentum(self, runner: Runner) -> None:
        if self.momentum < 0.5:
            runner.logger.warning(
                f"EMATeacherHook has momentum={self.momentum}: the teacher is almost the student. "
                "The momentum is the weight of the old teacher; what mmengine would call "
                f"{self.momentum} is {1 - self.momentum} here."
            )

    def _start_from_student(self, runner: Runner) -> None:
        runner.logger.info(
            f"EMATeacherHook has update={self.update!r}, which uses no momentum: momentum="
            f"{self.momentum} and end_momentum={self.end_momentum} have no effect."
        )
        if runner.iter == 0:
            # The weights that a run starts from may have a teacher of moving averages.
            copy_(self._teacher, self._student)
        if self.update == "previous_iteration":
            # No state of its own: between two steps it is the student.
            self._previous = [parameter.detach().clone() for parameter in self._student]

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Moves the teacher if the optimiser moved the student, or an epoch has ended."""
        if self.update == "previous_epoch":
            self._follow_epochs(runner, batch_idx)
        elif took_step(runner.optim_wrapper):
            self._follow_step(runner)

    def _follow_epochs(self, runner: Runner, batch_idx: int) -> None:
        # Loops without epochs count the batches of the whole run.
        if (batch_idx + 1) % len(runner.train_dataloader) == 0:
            self._epoch_ended = True
        if self._epoch_ended and runner.optim_wrapper.should_update():
            copy_(self._teacher, self._student)
            self._epoch_ended = False

    def _follow_step(self, runner: Runner) -> None:
        if self.update == "student_copy":
            copy_(self._teacher, self._student)
        elif self.update == "previous_iteration":
            copy_(self._teacher, self._previous)
            copy_(self._previous, self._student)
        else:
            step, steps = current_step(runner), num_steps(runner)
            momentum = cosine(step, steps, self.momentum, self.end_momentum)
            move_teacher_(self._teacher, self._student, momentum)
            runner.message_hub.update_scalar("train/teacher_momentum", momentum)


@torch.no_grad()
def move_teacher_(teacher: Sequence[Tensor], student: Sequence[Tensor], momentum: float) -> None:
    """Sets each teacher tensor to momentum * teacher + (1 - momentum) * student, in one call."""
    torch._foreach_lerp_(list(teacher), list(student), 1 - momentum)


@torch.no_grad()
def copy_(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Sets each target tensor to its source, in one call."""
    torch._foreach_copy_(list(targets), list(sources))
