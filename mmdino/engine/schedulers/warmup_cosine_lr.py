"""The learning rate."""

from __future__ import annotations

import math
from typing import Any

from mmdino.engine.schedulers.step_scheduler import StepScheduler
from mmdino.registry import PARAM_SCHEDULERS
from mmdino.schedules import delayed_warmup_cosine, warmup_cosine
from mmdino.utils.numbers import require_number

PAPER_END_LR = 1e-6


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(StepScheduler):
    """Linear warm-up to the optimiser's rate, then half a cosine (Caron et al. 2021, 3.2).

    Args:
        warmup: Length of the warm-up, in epochs with ``by_epoch=True``, also such as 0.5, else in
            iterations.
        end_lr: Rate at the end; 1e-6, the paper's, if ``end_ratio`` is not given either. For
            parameters whose rate has a factor it has that factor too.
        end_ratio: Rate at the end as a fraction of the peak, in place of ``end_lr``.
        start_ratio: Rate that the warm-up starts from, as a fraction of the peak.
        delayed: Whether each step has the rate of the step before, as in
            :func:`~mmdino.schedules.delayed_warmup_cosine`: so it is in code that moves timm's
            scheduler after the optimiser, such as that of feature distillation.
        **kwargs: Arguments of :class:`StepScheduler`.

    Raises:
        TypeError: If a length or rate is no number, or ``delayed`` no bool.
        ValueError: If the warm-up or a rate is negative, or both kinds of end are given.

    Example:
        >>> dict(type="mmdino.WarmupCosineLR", warmup=10, end_lr=1e-6,
        ...      by_epoch=True, convert_to_iter_based=True)
    """

    lengths = ("warmup",)

    def __init__(
        self,
        *args: Any,
        warmup: float = 10,
        end_lr: float | None = None,
        end_ratio: float | None = None,
        start_ratio: float = 0.0,
        delayed: bool = False,
        **kwargs: Any,
    ) -> None:
        require_number("WarmupCosineLR", "warmup", warmup, least=0, whole=True)
        if end_lr is not None and end_ratio is not None:
            raise ValueError(
                f"WarmupCosineLR got end_lr={end_lr} and end_ratio={end_ratio}. Give one of them; "
                "to replace the one that a base config gives, set that one to None."
            )
        if end_ratio is not None:
            require_number("WarmupCosineLR", "end_ratio", end_ratio, least=0)
        end_lr = PAPER_END_LR if end_lr is None else end_lr
        require_number("WarmupCosineLR", "end_lr", end_lr, least=0)
        require_number("WarmupCosineLR", "start_ratio", start_ratio, least=0)
        if not isinstance(delayed, bool):
            raise TypeError(f"WarmupCosineLR got delayed={delayed!r}; it must be True or False.")
        self.start_ratio = start_ratio
        self.delayed = delayed
        self.warmup = warmup
        self.end_lr = end_lr
        self.end_ratio = end_ratio
        super().__init__(*args, param_name="lr", **kwargs)

    def value(self, step: int, base: float, group: dict) -> float:
        """Returns the rate of a step; ``base`` is the peak if it is linear in the batch."""
        base = peak_lr(base, group)
        num_steps = self.num_steps
        warmup_steps = min(self.steps(self.warmup), num_steps) if self.warmup else 0
        if self.end_ratio is None:
            end = self.end_lr * group.get("lr_mult", 1.0)
        else:
            end = self.end_ratio * base
        schedule = delayed_warmup_cosine if self.delayed else warmup_cosine
        return schedule(step, num_steps, warmup_steps, base, end, self.start_ratio * base)


def peak_lr(linear: float, group: dict) -> float:
    """Returns the peak of a group's rate by its rule for the batch.

    Args:
        linear: The configured rate times the batch over that of the config, as mmengine and
            accumulation scale it.
        group: The group. ``lr_of_base_batch``, which ``DecayGroupsConstructor`` notes for the rule
            "sqrt", is the configured rate.
    """
    configured = group.get("lr_of_base_batch")
    return linear if configured is None else math.sqrt(configured * linear)
