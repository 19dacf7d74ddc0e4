"""The learning rate."""

from __future__ import annotations

from typing import Any

from mmdino.engine.schedulers.step_scheduler import StepScheduler
from mmdino.registry import PARAM_SCHEDULERS
from mmdino.schedules import warmup_cosine
from mmdino.utils.numbers import require_number


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(StepScheduler):
    """Linear warm-up from 0 to the optimiser's rate, then half a cosine (Caron et al. 2021, 3.2).

    Args:
        warmup: Length of the warm-up, in epochs with ``by_epoch=True``, else in iterations.
        end_lr: Rate at the end.
        **kwargs: Arguments of :class:`StepScheduler`.

    Raises:
        ValueError: If the warm-up or the rate is negative.

    Example:
        >>> dict(type="mmdino.WarmupCosineLR", warmup=10, end_lr=1e-6,
        ...      by_epoch=True, convert_to_iter_based=True)
    """

    lengths = ("warmup",)

    def __init__(self, *args: Any, warmup: int = 10, end_lr: float = 1e-6, **kwargs: Any) -> None:
        require_number("WarmupCosineLR", "warmup", warmup, least=0, whole=True)
        require_number("WarmupCosineLR", "end_lr", end_lr, least=0)
        self.warmup = warmup
        self.end_lr = end_lr
        super().__init__(*args, param_name="lr", **kwargs)

    def value(self, step: int, base: float, group: dict) -> float:
        """Returns the rate of a step; ``base`` is the peak."""
        num_steps = self.num_steps
        warmup_steps = min(self.steps(self.warmup), num_steps) if self.warmup else 0
        return warmup_cosine(step, num_steps, warmup_steps, base, self.end_lr)
