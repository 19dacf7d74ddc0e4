"""Scaled dot-product attention by the fastest way on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from mmdino.models.layers.precision import HALF, at_least_float32, no_autocast

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
        if query.dtype in HALF and torch.is_grad_enabled():
            return _PreciseAttention.apply(query, key, value, bias)
        return _precise_attention(query, key, value, bias).to(query.dtype)


def _precise_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    q, k, v = (at_least_float32(tensor) for tensor in (query, key, value))
    bias = None if bias is None else bias.to(q.dtype)
    if max(q.shape[-2], k.shape[-2]) > SHORT_SEQUENCE:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    return weights @ v


class _PreciseAttention(torch.autograd.Function):
    """Attention in float32 that keeps its inputs in half precision alone.

    The backward pass computes it again; what it would need otherwise is twice as large as all that
    the layers around it keep.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, *inputs: Tensor | None) -> Tensor:
        ctx.save_for_backward(*inputs)
        return _precise_attention(*inputs).to(inputs[0].dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad
        inputs = [
            tensor.detach().requires_grad_() if needed else tensor
            for tensor, needed in zip(ctx.saved_tensors, wanted, strict=True)
        ]
        with no_autocast(grad), torch.enable_grad():
            attended = _precise_attention(*inputs)
        needed = [tensor for tensor, need in zip(inputs, wanted, strict=True) if need]
        found = iter(torch.autograd.grad(attended, needed, grad.to(attended.dtype)))
        return tuple(next(found) if need else None for need in wanted)
