"""Periods of rotary positions, of which other projects' networks have those of all blocks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

PERIODS = "position_encoding.periods"


def with_shared_periods(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors in mmpretrain's names with one tensor for the periods of all blocks.

    Raises:
        ValueError: If blocks have different periods.
    """
    own = {name: tensor for name, tensor in state_dict.items() if name.endswith(f".{PERIODS}")}
    if not own:
        return dict(state_dict)
    first = next(iter(own))
    for name, periods in own.items():
        if not torch.equal(periods, own[first]):
            raise ValueError(
                f"{name} differs from {first}, but the blocks of the other projects' networks "
                "share the periods of their rotary positions. Use the backbone in mmdino, or "
                "extract it."
            )
    rest = {name: tensor for name, tensor in state_dict.items() if name not in own}
    return {**rest, PERIODS: own[first]}
