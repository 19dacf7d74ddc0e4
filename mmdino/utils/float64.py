"""Sums in double precision, where the device has it."""

from __future__ import annotations

from torch import Tensor

WITHOUT_FLOAT64 = ("mps",)
"""Kinds of devices that have no float64: Apple's GPUs."""


def widest(tensor: Tensor) -> Tensor:
    """Returns a tensor as float64, or as float32 on a device that has no float64."""
    return tensor.float() if tensor.device.type in WITHOUT_FLOAT64 else tensor.double()
