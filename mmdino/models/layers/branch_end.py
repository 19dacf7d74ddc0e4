"""The last linear layer of a residual branch, with what stands beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

from mmdino.models.layers.precision import linear_dtype, no_autocast


def branch_end(
    x: Tensor,
    linear: nn.Module,
    dropout: nn.Module,
    scale: nn.Module,
    gelu: bool = False,
) -> Tensor:
    """Computes ``scale(dropout(linear(x)))``, with GELU before that if asked for.

    Of the tokens only x is kept for the backward pass: GELU is computed again, and the gradient of
    the scale follows from that of the weights. Values and gradients are those of the modules, which
    are called in float16: there the sums without the scale, 1e-5 at the start, may overflow. They
    are, too, without gradients, or if the linear layer is another one, such as an adapter.

    Args:
        x: Tokens (..., D).
        linear: The linear layer.
        dropout: ``nn.Dropout``; the modules are called where it drops, too.
        scale: mmpretrain's ``LayerScale`` or the identity.
        gelu: Whether x passes GELU first.
    """
    dtype = linear_dtype(x)
    plain = type(linear) is nn.Linear and not (dropout.training and dropout.p > 0)
    if not plain or dtype is torch.float16 or not torch.is_grad_enabled():
        return scale(dropout(linear(functional.gelu(x) if gelu else x)))
    factor = getattr(scale, "weight", None)
    return _BranchEnd.apply(x, linear.weight, linear.bias, factor, gelu, dtype)


class _BranchEnd(torch.autograd.Function):
    """:func:`branch_end` without dropout.

    With h = gelu(x), g the gradient of the output, c the scale and t a token: the gradient of the
    weight W is c_i sum_t g_ti h_tj, and that of c is sum_t g_ti (W h_t + b)_i, which the same sum
    gives.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor | None,
        gelu: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        with no_autocast(x):
            hidden = functional.gelu(x) if gelu else x
            output = functional.linear(hidden.to(dtype), weight.to(dtype), bias.to(dtype))
            ctx.save_for_backward(x, weight, bias, scale)
            ctx.gelu, ctx.dtype = gelu, dtype
            return output if scale is None else output * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, scale = ctx.saved_tensors
        with no_autocast(x):
            rows, inputs = grad.flatten(0, -2), x.flatten(0, -2)
            low_rows = rows.to(ctx.dtype)
            hidden = functional.gelu(inputs) if ctx.gelu else inputs
            weight_grad = (low_rows.T @ hidden.to(ctx.dtype)).to(weight.dtype)
            del hidden
            # In float32 inside, where a sum to float32 would first copy all rows.
            bias_grad = rows.sum(0).to(bias.dtype)
            scale_grad = None
            if scale is not None:
                scale_grad = torch.linalg.vecdot(weight_grad, weight).addcmul_(bias_grad, bias)
                weight_grad.mul_(scale.unsqueeze(1))
                bias_grad.mul_(scale)
                low_rows = (rows * scale).to(ctx.dtype)
            input_grad = (low_rows @ weight.to(ctx.dtype)).to(x.dtype)
            if ctx.gelu:
                input_grad = torch.ops.aten.gelu_backward(input_grad, inputs)
        return input_grad.view_as(x), weight_grad, bias_grad, scale_grad, None, None
