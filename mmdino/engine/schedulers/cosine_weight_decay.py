"""The weight decay."""

from __future__ import annotations

from typing import Any

from mmdino.engine.schedulers.step_scheduler import StepScheduler
from mmdino.registry import PARAM_SCHEDULERS
from mmdino.schedules import cosine
from mmdino.utils.numbers import require_number


@PARAM_SCHEDULERS.register_module()
class CosineWeightDecay(StepScheduler):
    """Half a cosine over the whole run from the optimiser's weight decay to another.

    Groups that ``DecayGroupsConstructor`` marks as not decayed stay at 0; where another
    constructor made the groups, those that start at 0 do.

    Args:
        end_value: Weight decay at the end; 0.4 in the paper, which starts at 0.04.
        **kwargs: Arguments of :class:`StepScheduler`.

    Raises:
        ValueError: If the value is negative.

    Example:
        >>> dict(type="mmdino.CosineWeightDecay", end_value=0.4,
        ...      by_epoch=True, convert_to_iter_based=True)
    """

    def __init__(self, *args: Any, end_value: float = 0.4, **kwargs: Any) -> None:
        require_number("CosineWeightDecay", "end_value", end_value, least=0)
        self.end_value = end_value
        super().__init__(*args, param_name="weight_decay", **kwargs)

    def value(self, step: int, base: float, group: dict) -> float:
        """Returns the weight decay of a step; ``base`` is the first."""
        if not group.get("decayed", base > 0):
            return 0.0
        return cosine(step, self.num_steps, base, self.end_value)
