"""How alike the heads of a block attend (Wei et al. 2022, arXiv 2205.14141)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.diagnostics.patch_attention import patch_block


def head_pairs(attention: Tensor, extra_tokens: int, whole_maps: bool = False) -> Tensor:
    """Computes the cosines of the attention of each two heads.

    Args:
        attention: Attention (..., H, N, N) after the softmax, rows are queries.
        extra_tokens: Number of leading tokens that are no patches.
        whole_maps: Whether two heads are compared as maps of P * P numbers. Else each query's row
            of P numbers is, and the mean over the queries is taken. The paper does not say which.

    Returns:
        Cosines (..., H, H), float64.

    Raises:
        ValueError: As in :func:`patch_block`.
    """
    block = patch_block(attention, extra_tokens)
    if whole_maps:
        maps = functional.normalize(block.flatten(-2), dim=-1)
        return maps @ maps.transpose(-1, -2)
    rows = functional.normalize(block, dim=-1)
    return torch.einsum("...hij,...gij->...hg", rows, rows) / block.shape[-1]


def head_similarity(attention: Tensor, extra_tokens: int, whole_maps: bool = False) -> Tensor:
    """Computes the mean cosine of each head's attention with the other heads'.

    Args:
        attention: Attention (..., H, N, N) after the softmax, rows are queries.
        extra_tokens: Number of leading tokens that are no patches.
        whole_maps: As in :func:`head_pairs`.

    Returns:
        Means (..., H), float64; NaN for a single head, which has no other.

    Raises:
        ValueError: As in :func:`patch_block`.
    """
    pairs = head_pairs(attention, extra_tokens, whole_maps)
    own = pairs.diagonal(dim1=-2, dim2=-1)
    return (pairs.sum(-1) - own) / (pairs.shape[-1] - 1)
