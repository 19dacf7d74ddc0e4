"""The part of an attention map in which patches attend to patches.

H is the number of heads, N of tokens and P of patches. The extra tokens (class token, registers)
come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor


def patch_block(attention: Tensor, extra_tokens: int) -> Tensor:
    """Returns the attention (..., P, P) of patches to patches, in float64.

    Its rows do not sum to 1: what a patch gives to the extra tokens is missing.

    Args:
        attention: Attention (..., N, N) after the softmax, rows are queries.
        extra_tokens: Number of leading tokens that are no patches.

    Raises:
        ValueError: If there is no patch, or an entry is negative or not finite.
    """
    tokens = attention.shape[-1]
    if attention.dim() < 2 or attention.shape[-2] != tokens or not 0 <= extra_tokens < tokens:
        raise ValueError(
            f"Attention of shape {tuple(attention.shape)} with extra_tokens={extra_tokens} has no "
            "patches: expected (..., N, N) with fewer extra tokens than N."
        )
    block = attention[..., extra_tokens:, extra_tokens:].double()
    if not block.isfinite().all() or (block < 0).any():
        raise ValueError(
            "The attention is negative or not finite. Check the network's weights: training may "
            "have diverged, or a file may be damaged."
        )
    return block


def patch_rows(attention: Tensor, extra_tokens: int) -> Tensor:
    """Returns the attention (..., P, P) of patches to patches with rows that sum to 1, in float64.

    Args:
        attention: Attention (..., N, N) after the softmax, rows are queries.
        extra_tokens: Number of leading tokens that are no patches.

    Raises:
        ValueError: If a patch attends to no patch, or as in :func:`patch_block`.
    """
    block = patch_block(attention, extra_tokens)
    mass = block.sum(-1, keepdim=True)
    if not (mass > 0).all():
        raise ValueError(
            "A patch attends to the extra tokens alone, so its row over the patches has no sum to "
            "divide by. Give the attention in float64."
        )
    return block / mass


def check_grid(grid: Sequence[int], patches: int) -> None:
    """Checks that a grid of patches has as many as the attention.

    Raises:
        ValueError: If it does not.
    """
    if len(grid) != 2 or math.prod(grid) != patches:
        raise ValueError(
            f"A grid of {tuple(grid)} has {math.prod(grid)} patches, the attention {patches}. Give "
            "rows and columns of the patches, and the number of extra tokens."
        )
