"""Layer norm and the linear layer after it, in one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from mmdino.models.layers.precision import linear_dtype, no_autocast


def normed_linear(
    x: Tensor, norm: nn.Module | None, linear: nn.Module, channels: slice | None = None
) -> Tensor:
    """Computes ``linear(norm(x))``, without a norm if there is none.

    After a layer norm of the precision of x, x is all that is kept for the backward pass, which
    normalises again. Other norms are called, and so is what others put in the place of a linear
    layer, such as an adapter.

    Args:
        x: Tokens (..., D).
        norm: The norm.
        linear: The linear layer; one whose bias acts in part tells by ``acting_bias``.
        channels: The output channels that are wanted, by default all. The others are not computed,
            but by layers of another kind.
    """
    simple = type(linear) is nn.Linear or hasattr(linear, "acting_bias")
    plain = type(norm) is nn.LayerNorm and norm.elementwise_affine and norm.bias is not None
    fused = plain and simple and norm.weight.dtype == x.dtype and torch.is_grad_enabled()
    if not fused:
        x = x if norm is None else norm(x)
        if channels is None:
            return linear(x)
        if not simple:
            return linear(x)[..., channels]
    weight, bias = linear.weight, getattr(linear, "acting_bias", linear.bias)
    if channels is not None:
        # The gradient of a slice, even of a whole, is a copy of it among zeros.
        weight, bias = weight[channels], None if bias is None else bias[channels]
    if not fused:
        return functional.linear(x, weight, bias)
    return _NormedLinear.apply(
        x,
        norm.weight,
        norm.bias,
        weight,
        bias,
        norm.normalized_shape,
        norm.eps,
        linear_dtype(x),
    )


class _NormedLinear(torch.autograd.Function):
    """:func:`normed_linear` after a layer norm."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        shape: tuple[int, ...],
        eps: float,
        dtype: torch.dtype,
    ) -> Tensor:
        with no_autocast(x):
            normed, mean, rstd = torch.native_layer_norm(x, shape, scale, shift, eps)
            ctx.save_for_backward(x, scale, shift, weight, mean, rstd)
            ctx.shape, ctx.eps, ctx.dtype = shape, eps, dtype
            ctx.bias_dtype = None if bias is None else bias.dtype
            bias = None if bias is None else bias.to(dtype)
            return functional.linear(normed.to(dtype), weight.to(dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight, mean, rstd = ctx.saved_tensors
        with no_autocast(x):
            normed, _, _ = torch.native_layer_norm(x, ctx.shape, scale, shift, ctx.eps)
            rows = grad.to(ctx.dtype)
            weight_grad = rows.flatten(0, -2).T @ normed.to(ctx.dtype).flatten(0, -2)
            del normed
            bias_grad = None
            if ctx.bias_dtype is not None:
                bias_grad = grad.flatten(0, -2).sum(0).to(ctx.bias_dtype)
            norm_grads = torch.ops.aten.native_layer_norm_backward(
                (rows @ weight.to(ctx.dtype)).to(x.dtype),
                x,
                ctx.shape,
                mean,
                rstd,
                scale,
                shift,
                [True, True, True],
            )
        return *norm_grads, weight_grad.to(weight.dtype), bias_grad, None, None, None
