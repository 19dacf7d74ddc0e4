"""Periods of rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor

ROTARY_BASE = 100.0
"""Base of the periods in DINOv3."""
ROUNDING = 0.01
"""Relative difference of periods that are rounded to bfloat16, at most 0.004, and a margin."""


def rotary_periods(head_dims: int, base: float = ROTARY_BASE) -> Tensor:
    """Returns the periods base^(4 i / d), (d / 4,), for heads of width d."""
    quarter = head_dims // 4
    exponents = torch.arange(quarter, dtype=torch.float64) / quarter
    return (base**exponents).float()


def rotary_base(periods: Tensor) -> float:
    """Returns the base of periods (d / 4,), which a file may have rounded.

    Raises:
        ValueError: If they are not the powers of a base.
    """
    number = periods.numel()
    if periods.dim() == 1 and number:
        last = float(periods[-1])
        own = [last ** (number / (number - 1))] if number > 1 and last > 0 else []
        for base in (ROTARY_BASE, *own):
            expected = rotary_periods(4 * number, base).to(periods.dtype)
            if torch.allclose(periods, expected, rtol=ROUNDING, atol=0):
                return base
    raise ValueError(
        f"The periods of the rotary positions, of shape {tuple(periods.shape)}, are not the powers "
        "of a base, base^(4 i / width of a head). The file is damaged, or of a network that this "
        "project does not have."
    )
