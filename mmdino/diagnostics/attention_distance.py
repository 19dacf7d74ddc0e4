"""How far apart patches are that attend to each other (Dosovitskiy et al. 2021, figure 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdino.diagnostics.patch_attention import check_grid, patch_block, patch_rows


def patch_distances(grid: Sequence[int], patch_size: float) -> Tensor:
    """Returns the distances (P, P) of patches, in pixels of the network's input.

    Args:
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
    """
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in grid)
    places = torch.cartesian_prod(rows, columns)
    return patch_size * (places[:, None] - places[None]).norm(dim=-1)


def attention_distance(
    attention: Tensor,
    grid: Sequence[int],
    patch_size: float,
    extra_tokens: int,
    normalize: bool = True,
) -> Tensor:
    """Computes the mean distance from a query patch to the patches that it attends to.

    Args:
        attention: Attention (..., N, N) after the softmax, rows are queries.
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
        extra_tokens: Number of leading tokens that are no patches.
        normalize: Whether rows over the patches are brought to sum 1. Without, the distance shrinks
            by the attention that extra tokens get, as in most public code, which drops the class
            token and goes on.

    Returns:
        Means (...) over the query patches, in pixels of the network's input, float64.

    Raises:
        ValueError: If the grid does not fit, or as in :func:`patch_rows`.
    """
    weights = (patch_rows if normalize else patch_block)(attention, extra_tokens)
    check_grid(grid, weights.shape[-1])
    distances = patch_distances(grid, patch_size).to(weights.device)
    return (weights * distances).sum(-1).mean(-1)


def uniform_distance(grid: Sequence[int], patch_size: float) -> float:
    """Returns the distance of attention that is even over all patches, for comparison."""
    return patch_distances(grid, patch_size).mean().item()
