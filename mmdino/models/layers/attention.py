"""Scaled dot-product attention by the fastest way on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers.precision import at_least_float32, no_autocast

SHORT_SEQUENCE = 64
"""Number of tokens up to which, on a CPU, plain matrix products beat the fused kernel."""


def fastest_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Computes what ``torch.nn.functional.scaled_dot_product_attention`` computes.

    On an accelerator it is that function. On a CPU the fused kernel is slow for few tokens, as in
    local views, and its backward pass in half precision; there the attention is computed in float32
    at least and returned in the precision of the inputs.

    Args:
        query: Queries (B, heads, N, width).
        key: Keys (B, heads, N, width).
        value: Values (B, heads, N, width).
        bias: Values (heads, N, N) that are added to the scores before the softmax.

    Returns:
        The attended values (B, heads, N, width).
    """
    if query.device.type != "cpu":
        bias = None if bias is None else bias.to(query.dtype)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    with no_autocast(query):
        q, k, v = (at_least_float32(tensor) for tensor in (query, key, value))
        bias = None if bias is None else bias.to(q.dtype)
        if max(q.shape[-2], k.shape[-2]) <= SHORT_SEQUENCE:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
            attended = weights @ v
        else:
            attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return attended.to(query.dtype)
