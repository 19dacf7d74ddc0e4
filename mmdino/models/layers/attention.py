"""Scaled dot-product attention by the fastest way on the device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from mmdino.models.layers.precision import HALF, at_least_float32, no_autocast

FEW_SCORES = 64**2
"""Number of scores of a head up to which, on a CPU, plain products beat the fused kernel."""
MANY_SCORES = 2**19
"""Number of scores of a head beyond which no matrix of them is to be held in memory."""
# Asked once: torch.compile cannot trace the question.
HAS_BFLOAT16_PRODUCTS = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
"""Whether the processor multiplies matrices in bf16, as far as this torch tells."""
SCORES_AT_ONCE = 2**20
"""Scores in memory at a time: few enough for a cache, many for the threads."""


def fastest_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Computes what ``torch.nn.functional.scaled_dot_product_attention`` computes.

    On an accelerator it is that function. On a CPU the fused kernel is slow for few tokens, as in
    local views, and its backward pass in half precision; there the attention is computed in float32
    at least and returned in the precision of the inputs. A processor with bf16 instructions has the
    fused kernel in bf16 and a backward pass of plain products, whose scores are in float32.

    Args:
        query: Queries (B, heads, Q, width).
        key: Keys (B, heads, N, width).
        value: Values (B, heads, N, width).
        bias: Values (heads, Q, N) that are added to the scores before the softmax.

    Returns:
        The attended values (B, heads, Q, width).
    """
    if query.device.type != "cpu":
        bias = None if bias is None else bias.to(query.dtype)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    with no_autocast(query):
        few = query.shape[-2] * key.shape[-2] <= MANY_SCORES
        if query.dtype is torch.bfloat16 and few and bias is None and HAS_BFLOAT16_PRODUCTS:
            return _BFloat16Attention.apply(query, key, value)
        if query.dtype in HALF and torch.is_grad_enabled():
            return _PreciseAttention.apply(query, key, value, bias)
        return _precise_attention(query, key, value, bias).to(query.dtype)


def _precise_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    q, k, v = (at_least_float32(tensor) for tensor in (query, key, value))
    bias = None if bias is None else bias.to(q.dtype)
    if q.shape[-2] * k.shape[-2] > FEW_SCORES:
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


class _BFloat16Attention(torch.autograd.Function):
    """Attention in bf16 whose backward pass is faster than that of the fused kernel.

    Scores and weights are computed again in float32: bf16 products of queries and keys would double
    the error of the gradient.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        return functional.scaled_dot_product_attention(query, key, value)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, ...]:
        inputs = ctx.saved_tensors
        found = tuple(torch.empty_like(tensor) for tensor in inputs)
        _, heads, queries, _ = grad.shape
        images = max(1, SCORES_AT_ONCE // (heads * queries * inputs[1].shape[-2]))
        split = [tensor.split(images) for tensor in (grad, *inputs, *found)]
        with no_autocast(grad):
            for of_output, query, key, value, of_query, of_key, of_value in zip(
                *split, strict=True
            ):
                scale = query.shape[-1] ** -0.5
                scores = (query.float() * scale) @ key.float().transpose(-2, -1)
                weights = scores.softmax(-1)
                del scores
                of_value.copy_(weights.to(grad.dtype).transpose(-2, -1) @ of_output)
                of_weights = (of_output @ value.transpose(-2, -1)).float()
                of_scores = torch.ops.aten._softmax_backward_data(
                    of_weights, weights, -1, torch.float32
                ).to(grad.dtype)
                of_query.copy_((of_scores @ key).mul_(scale))
                of_key.copy_((of_scores.transpose(-2, -1) @ query).mul_(scale))
        return found
