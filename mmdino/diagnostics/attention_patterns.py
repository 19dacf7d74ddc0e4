"""Whether attention goes by relative position (diagonals) or to fixed keys (columns).

The two fractions are of this project: Wei et al. 2022 show the average maps and judge them by eye.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdino.diagnostics.patch_attention import check_grid

ROUNDING = 1e-12
"""Deviation of a map's entries, relative to the largest, up to which it counts as even."""


def relative_fraction(average: Tensor, grid: Sequence[int]) -> Tensor:
    """Computes the fraction of an average map's variance that the relative offset explains.

    1 if each entry depends on the offset of rows and columns from key to query alone, as with
    diagonal stripes.

    Args:
        average: Mean attention (..., P, P) of patches to patches, with rows of sum 1.
        grid: Rows and columns of patches.

    Returns:
        Fractions (...), float64; NaN for a map without variance. See :func:`relative_chance`.

    Raises:
        ValueError: If the grid does not fit.
    """
    check_grid(grid, average.shape[-1])
    height, width = grid
    rows, columns = (torch.arange(side, device=average.device) for side in grid)
    row, column = torch.cartesian_prod(rows, columns).T
    offsets = (row[:, None] - row + height - 1) * (2 * width - 1) + column[:, None] - column
    offsets = (offsets + width - 1).flatten()
    values = average.double().flatten(-2)
    sums = values.new_zeros(*values.shape[:-1], (2 * height - 1) * (2 * width - 1))
    sums = sums.index_add(-1, offsets, values)
    means = sums / offsets.bincount(minlength=sums.shape[-1])
    return _explained(means[..., offsets], values)


def column_fraction(average: Tensor) -> Tensor:
    """Computes the fraction of an average map's variance that the key alone explains.

    1 if all queries attend alike, as with columns.

    Args:
        average: Mean attention (..., P, P) of patches to patches, with rows of sum 1.

    Returns:
        Fractions (...), float64; NaN for a map without variance. See :func:`column_chance`.
    """
    values = average.double()
    return _explained(
        values.mean(-2, keepdim=True).expand_as(values).flatten(-2), values.flatten(-2)
    )


def relative_chance(grid: Sequence[int]) -> float:
    """Returns about what :func:`relative_fraction` gives for a map of noise."""
    height, width = grid
    return ((2 * height - 1) * (2 * width - 1) - 1) / max((height * width) ** 2 - 1, 1)


def column_chance(grid: Sequence[int]) -> float:
    """Returns about what :func:`column_fraction` gives for a map of noise."""
    return 1 / (math.prod(grid) + 1)


def _explained(fitted: Tensor, values: Tensor) -> Tensor:
    variance = values.var(-1, correction=0)
    # Of an even map only the rounding varies.
    varies = variance.sqrt() > ROUNDING * values.abs().amax(-1)
    return torch.where(varies, fitted.var(-1, correction=0) / variance, torch.nan)
