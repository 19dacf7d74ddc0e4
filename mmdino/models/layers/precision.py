"""Arithmetic in single precision or better under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns half and bfloat16 tensors as float32, float32 and float64 ones as they are."""
    return tensor.float() if tensor.dtype in HALF else tensor


def no_autocast(tensor: Tensor) -> AbstractContextManager:
    """A context in which operations on the device of ``tensor`` keep their inputs' precision."""
    return torch.autocast(tensor.device.type, enabled=False)


def linear_dtype(tensor: Tensor) -> torch.dtype:
    """Precision that a linear layer computes in: autocast's where it is on, else the tensor's."""
    if torch.is_autocast_enabled(tensor.device.type) and tensor.dtype != torch.float64:
        return torch.get_autocast_dtype(tensor.device.type)
    return tensor.dtype


def product_dtype(tensor: Tensor) -> torch.dtype:
    """Precision of matrix products: autocast's where it is on, else float32 at least."""
    if torch.is_autocast_enabled(tensor.device.type):
        return linear_dtype(tensor)
    return at_least_float32(tensor).dtype
