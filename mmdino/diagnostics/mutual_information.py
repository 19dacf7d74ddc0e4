"""How much attention depends on the query (Park et al. 2023, arXiv 2305.00729)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmdino.diagnostics.patch_attention import patch_rows


def mutual_information(attention: Tensor, extra_tokens: int) -> Tensor:
    """Computes the normalised mutual information of query and key.

    Queries are equally likely, so the joint distribution of query i and key j is
    p(i, j) = Q_ij / P, with Q the rows over the patches. The result is I(i; j) / sqrt(H(i) H(j)).

    Args:
        attention: Attention (..., N, N) after the softmax, rows are queries.
        extra_tokens: Number of leading tokens that are no patches.

    Returns:
        Values (...) from 0, all queries attend alike, to 1, float64; NaN where H(i) or H(j) is 0.

    Raises:
        ValueError: As in :func:`patch_rows`.
    """
    rows = patch_rows(attention, extra_tokens)
    patches = rows.shape[-1]
    key_entropy = _entropy(rows.mean(-2))
    information = key_entropy - _entropy(rows).mean(-1)
    return information / (math.log(patches) * key_entropy).sqrt()


def _entropy(probabilities: Tensor) -> Tensor:
    return torch.special.entr(probabilities).sum(-1)
