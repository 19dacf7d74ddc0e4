"""Scaled dot-product attention by whichever way is fastest on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers.precision import at_least_float32, no_autocast

SHORT_SEQUENCE = 64
"""Tokens up to which, on a CPU, products of whole matrices beat the fused kernel."""


def fastest_attention(query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0) -> Tensor:
    """Computes what ``torch.nn.functional.scaled_dot_product_attention`` computes.

    On an accelerator it is that function. On a CPU the fused kernel is slow where there are few
    tokens, as in local views, and its backward pass in half precision; there the attention has
    float32 at least, of inputs and with a result in the precision that they have.

    Args:
        query: Queries (B, heads, N, width).
        key: Keys, likewise.
        value: Values, likewise.
        dropout_p: Probability that a weight is dropped.

    Returns:
        The attended values (B, heads, N, width).
    """
    if query.device.type != "cpu" or dropout_p:
        return functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout_p)
    with no_autocast(query):
        q, k, v = (at_least_float32(tensor) for tensor in (query, key, value))
        if max(q.shape[-2], k.shape[-2]) <= SHORT_SEQUENCE:
            weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            attended = torch.softmax(weights, dim=-1) @ v
        else:
            attended = functional.scaled_dot_product_attention(q, k, v)
    return attended.to(query.dtype)
