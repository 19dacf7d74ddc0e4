"""Checks of the names, types and values of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

COUNTER = "num_batches_tracked"
"""Integer tensor of batch norms."""
EXTRA_STATE = "_extra_state"
"""What a torch module may save beside its tensors."""
MAX_NAMED = 8


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of the tensors that have a NaN or an infinity."""
    return [name for name, tensor in tensors.items() if not _is_finite(tensor)]


def describe_non_finite(names: list[str]) -> str:
    """Says which tensors :func:`non_finite` found."""
    return f"{len(names)} tensor(s) with NaN or infinite values, the first is {names[0]}"


def require_weights(tensors: Mapping[str, Tensor], source: str) -> None:
    """Checks that tensors can be the weights of a network.

    Args:
        tensors: Tensors by name.
        source: Name of the file in the message.

    Raises:
        ValueError: If a tensor is not of floating-point numbers, or has a NaN or an infinity.
    """
    others = {
        name: tensor.dtype
        for name, tensor in tensors.items()
        if not tensor.is_floating_point() and not name.endswith(COUNTER)
    }
    if others:
        name, dtype = next(iter(others.items()))
        raise ValueError(
            f"The weights of {source} are not floating-point numbers: {len(others)} tensors, first "
            f"{name!r} of {dtype}. Save the weights of the network as it was trained."
        )
    names = non_finite(tensors)
    if names:
        raise ValueError(
            f"The weights of {source} are not finite: {describe_non_finite(names)}. The training "
            "that wrote them diverged; take an earlier checkpoint."
        )


def state_dict_of(
    mapping: Mapping[Any, Any], source: str, strict: bool = True
) -> dict[str, Tensor]:
    """Returns the tensors of a state dict.

    Args:
        mapping: The state dict.
        source: Name of the file in the message.
        strict: Whether values other than tensors are refused rather than left out.

    Raises:
        ValueError: If there are none, a name is no text, or a value is no tensor.
    """
    tensors = {name: value for name, value in mapping.items() if isinstance(value, Tensor)}
    names = [name for name in tensors if not isinstance(name, str)]
    if names:
        raise ValueError(
            f"{source} has a tensor named {names[0]!r}, of type {type(names[0]).__name__}: "
            "expected a state dict, whose names are text."
        )
    if not tensors:
        raise ValueError(
            f"{source} has no named tensors, but {_listed(mapping) or 'an empty dict'}. Expected a "
            "state dict, or one under 'state_dict', 'model', or 'student' and 'teacher'."
        )
    others = [
        name for name in mapping if name not in tensors and not str(name).endswith(EXTRA_STATE)
    ]
    if strict and others:
        raise ValueError(
            f"The state dict in {source} has {len(others)} values that are no tensors, first "
            f"{others[0]!r}. Save the tensors alone: torch.save(model.state_dict(), path)."
        )
    return tensors


def _listed(mapping: Mapping[Any, Any]) -> str:
    names = [f"{name!s:.80}" for name in list(mapping)[:MAX_NAMED]]
    return ", ".join(names) + (", ..." if len(mapping) > MAX_NAMED else "")


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    # Types of 8 bits have no test of their own.
    exact = tensor.float() if tensor.element_size() == 1 else tensor
    return bool(torch.isfinite(exact).all())
