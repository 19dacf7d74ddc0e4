"""Arithmetic in single precision or better under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns half and bfloat16 tensors as float32, float32 and float64 ones as they are."""
    return tensor.float() if tensor.dtype in HALF else tensor


@torch.compiler.assume_constant_result
def _has_autocast(device_type: str) -> bool:
    """Whether a kind of device has autocast, which torch.compile of torch 2.11 cannot trace."""
    return torch.amp.is_autocast_available(device_type)


def no_autocast(tensor: Tensor) -> AbstractContextManager:
    """A context in which operations on the device of ``tensor`` keep their inputs' precision."""
    # Not on the meta device, on which networks are built to see their shapes.
    if not _has_autocast(tensor.device.type):
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def is_autocast(tensor: Tensor) -> bool:
    """Whether autocast is on for the device of ``tensor``."""
    device = tensor.device.type
    return _has_autocast(device) and torch.is_autocast_enabled(device)


def linear_dtype(tensor: Tensor) -> torch.dtype:
    """Precision that a linear layer computes in: autocast's where it is on, else the tensor's."""
    if is_autocast(tensor) and tensor.dtype != torch.float64:
        return torch.get_autocast_dtype(tensor.device.type)
    return tensor.dtype


def product_dtype(tensor: Tensor) -> torch.dtype:
    """Precision of matrix products: autocast's where it is on, else float32 at least."""
    if is_autocast(tensor):
        return linear_dtype(tensor)
    return at_least_float32(tensor).dtype
