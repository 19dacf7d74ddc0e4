"""Checks of the values of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of the tensors that have a NaN or an infinity."""
    return [name for name, tensor in tensors.items() if not _is_finite(tensor)]


def require_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Checks that weights have neither NaN nor infinities.

    Args:
        tensors: Tensors by name.
        source: Name of the file in the message.

    Raises:
        ValueError: If a tensor has one.
    """
    names = non_finite(tensors)
    if names:
        raise ValueError(
            f"The weights of {source} are not finite: {len(names)} tensors, first {names[0]!r}. "
            "The training diverged; take an earlier checkpoint."
        )


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    # Types of 8 bits have no test of their own.
    exact = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(exact).all())
