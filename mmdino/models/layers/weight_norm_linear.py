"""The prototypes: bias-free linear layers, and logits not computed yet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers.blocks import numbers_at_once
from mmdino.models.layers.precision import at_least_float32, no_autocast, product_dtype

CACHED_NUMBERS = 2**18
"""Of a matrix of rows, at a time on a CPU."""


@dataclass(frozen=True)
class LazyLogits:
    """Logits (..., K) that are not computed yet: the last layer's input and its weights.

    A loss that takes them need not hold all logits at once.
    """

    inputs: Tensor
    """Unit vectors (..., D) that enter the last layer."""
    weight_v: Tensor
    """Directions (K, D) of the prototypes, of any length."""
    weight_g: Tensor | None
    """Lengths (K, 1) of the prototypes; None where ``weight_v`` has those too."""
    dtype: torch.dtype
    """Precision of the matrix product."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (..., K) of the logits."""
        return (*self.inputs.shape[:-1], len(self.weight_v))

    def unflatten(self, dim: int, sizes: Sequence[int]) -> LazyLogits:
        """Splits a leading dimension, as ``Tensor.unflatten`` does."""
        return replace(self, inputs=self.inputs.unflatten(dim, sizes))


class WeightNormLinear(nn.Module):
    """A bias-free linear layer whose rows are ``weight_g * weight_v / ||weight_v||``.

    It computes what ``torch.nn.utils.parametrizations.weight_norm`` does. It is a module of its own
    because its parameters then have the names of the authors' checkpoints, and because the norm is
    taken in float32 under autocast.

    Args:
        in_features: Width D of the input.
        out_features: Number K of rows, the prototypes.
        train_gain: Whether ``weight_g`` (K, 1), which starts at 1, is trained.
    """

    def __init__(self, in_features: int, out_features: int, train_gain: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_features, 1), requires_grad=train_gain)
        self.weight_v = nn.Parameter(torch.empty(out_features, in_features))
        # The start of a plain nn.Linear: only the direction of a row counts in the forward pass,
        # but its length sets how fast an optimiser step turns it.
        nn.init.kaiming_uniform_(self.weight_v, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, D) to logits (B, K)."""
        if not torch.is_grad_enabled():
            dtype = product_dtype(x)
            rows = normalised_rows(self.weight_v, self.weight_g, dtype)
            return functional.linear(x.to(dtype), rows)
        with no_autocast(x):
            direction = functional.normalize(at_least_float32(self.weight_v), dim=1)
            weight = at_least_float32(self.weight_g) * direction
        return functional.linear(x, weight)

    def lazy(self, x: Tensor) -> LazyLogits:
        """Returns the logits of (..., D) without computing them."""
        return LazyLogits(x, self.weight_v, self.weight_g, product_dtype(x))


class PlainLinear(nn.Linear):
    """A bias-free linear layer, DINOv3's last one.

    Args:
        in_features: Width D of the input.
        out_features: Number K of rows, the prototypes.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def lazy(self, x: Tensor) -> LazyLogits:
        """Returns the logits of (..., D) without computing them."""
        return LazyLogits(x, self.weight, None, product_dtype(x))


def row_blocks(matrix: Tensor) -> Iterator[slice]:
    """Yields slices that cover the rows of a matrix (K, D), of many numbers each."""
    numbers = numbers_at_once(matrix.device, CACHED_NUMBERS)
    rows = max(1, numbers // max(1, matrix.shape[1]))
    return (slice(start, start + rows) for start in range(0, len(matrix), rows))


def row_lengths(weight_v: Tensor) -> Tensor:
    """Lengths (K, 1) of rows (K, D), in float32 at least, and not 0."""
    dtype = at_least_float32(weight_v[:0]).dtype
    # The small number is that of torch.nn.functional.normalize.
    return torch.linalg.vector_norm(weight_v, dim=1, keepdim=True, dtype=dtype).clamp_min_(1e-12)


@torch.no_grad()
def normalised_rows(weight_v: Tensor, weight_g: Tensor, dtype: torch.dtype) -> Tensor:
    """Computes rows g v / |v| (K, D) without another matrix in between.

    Args:
        weight_v: Directions (K, D), of any length.
        weight_g: Lengths (K, 1).
        dtype: Precision of the result; the arithmetic has float32 at least.
    """
    rows = torch.empty_like(weight_v, dtype=dtype)
    for block in row_blocks(weight_v):
        part = weight_v[block]
        rows[block] = part * (at_least_float32(weight_g[block]) / row_lengths(part))
    return rows
