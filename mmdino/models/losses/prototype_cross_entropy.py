"""Last layer and cross-entropy in one, a few images at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mmdino.models.layers import (
    HALF,
    LazyLogits,
    at_least_float32,
    normalised_rows,
    row_blocks,
    row_lengths,
)
from mmdino.models.losses.cross_view import Pairs, summed_targets

LogTargets = Callable[[slice], Tensor]
"""Maps a slice of the images to their targets, as log-probabilities (G, b, K)."""

FLOAT16_HEADROOM = 2**14
FLOAT16_FACTOR = 2**5
"""Least factor of gradients in float16, for which few rows are taken at a time."""


def prototype_cross_entropy(
    logits: LazyLogits,
    log_targets: LogTargets,
    pairs: Pairs,
    temperature: float,
    chunk: int,
    row_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes the cross-entropy over pairs of views without all logits at once.

    Args:
        logits: Student logits (V, B, K), not computed yet.
        log_targets: Gives the teacher's log-probabilities (G, b, K) of b of the B images. It is
            asked for ``chunk`` images at a time, so that not all need to exist at once.
        pairs: Pairs (target view, source view).
        temperature: Temperature of the student.
        chunk: Number of images whose logits are in memory at a time.
        row_weights: Weight (V, B) of each student row; by default 1 / B.

    Returns:
        The loss (), the mean over the pairs of the sum over the rows, in nats; the mean entropy ()
        of the targets; and their argmax (G, B).
    """
    return _PrototypeCrossEntropy.apply(
        logits.inputs,
        logits.weight_v,
        logits.weight_g,
        log_targets,
        pairs,
        temperature,
        chunk,
        row_weights,
        logits.dtype,
        torch.is_grad_enabled(),
    )


class _PrototypeCrossEntropy(torch.autograd.Function):
    """:func:`prototype_cross_entropy` with its gradient.

    Logits of a few images at a time become, in place, log-probabilities, probabilities and the
    gradient; what remains of them is a number, the gradient of the inputs and that of the rows. The
    gradient is thus computed in the forward pass, from the only logits there ever are.

    With n the number of targets of a student view, T the sum of their distributions, p the
    student's and w the weight of a row, the gradient of the loss with respect to a logit is
    w (n p - T) / temperature, over the number of pairs.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        inputs: Tensor,
        weight_v: Tensor,
        weight_g: Tensor | None,
        log_targets: LogTargets,
        pairs: Pairs,
        temperature: float,
        chunk: int,
        row_weights: Tensor | None,
        dtype: torch.dtype,
        with_grad: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        num_views, batch_size, _ = inputs.shape
        unpaired = set(range(num_views)) - {source for _, source in pairs}
        rows, scale = _rows(weight_v, weight_g, dtype)
        low = inputs.to(dtype)
        precise = at_least_float32(inputs).dtype
        loss, entropy = (torch.zeros((), dtype=precise, device=low.device) for _ in range(2))
        argmax = []
        factor = _factor(dtype, num_views * min(chunk, max(batch_size, 1)))
        input_grad = torch.empty_like(low) if with_grad else None
        row_grad = None
        # Without any row the gradients are zeros, which other ranks may have to add to theirs.
        for start in range(0, max(batch_size, 1), chunk):
            images = slice(start, start + chunk)
            log_probs_of_targets = log_targets(images)
            argmax.append(log_probs_of_targets.argmax(-1))
            targets = log_probs_of_targets.exp()
            entropy -= torch.linalg.vecdot(targets, log_probs_of_targets).sum()
            del log_probs_of_targets
            x = low[:, images].flatten(0, 1)
            logits = at_least_float32(x @ rows.T)
            logits.mul_(1 / temperature if scale is None else scale / temperature)
            log_probs = torch.log_softmax(logits, dim=-1).unflatten(0, (num_views, -1))
            del logits
            for view, target, count in summed_targets(targets, pairs):
                weights = None if row_weights is None else row_weights[view, images]
                losses = torch.linalg.vecdot(target, log_probs[view])
                loss -= losses.sum() if weights is None else losses @ weights
                if with_grad:
                    _to_gradient_(log_probs[view], target, count, factor, weights)
            if not with_grad:
                continue
            for view in unpaired:
                log_probs[view].zero_()
            logit_grad = log_probs.flatten(0, 1)
            low_grad = logit_grad.to(dtype)
            row_grad = _add_product(row_grad, low_grad, x)
            if scale is not None:
                low_grad = logit_grad.mul_(scale).to(dtype)
            input_grad[:, images] = (low_grad @ rows).unflatten(0, (num_views, -1))
        divisor = len(pairs) * (batch_size if row_weights is None else 1)
        if with_grad:
            ctx.gradients = (input_grad, row_grad)
            ctx.input_dtype = inputs.dtype
            ctx.divisor = factor * temperature * divisor
            ctx.save_for_backward(weight_v, weight_g)
        argmax = torch.cat(argmax, dim=1)
        entropy /= max(argmax.numel(), 1)
        ctx.mark_non_differentiable(entropy, argmax)
        return loss / divisor, entropy, argmax

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Scales the gradients by that of the loss and takes those of the rows to the parameters.

        Raises:
            RuntimeError: If it is called a second time; the first has overwritten the gradients.
        """
        if ctx.gradients is None:
            raise RuntimeError(
                "A second backward pass through the fused cross-entropy: the first one has "
                "overwritten the gradients. Set model.loss.chunk=None for a loss that keeps its "
                "graph."
            )
        (input_grad, row_grad), ctx.gradients = ctx.gradients, None
        factor = grad_loss / ctx.divisor
        weight_v, weight_g = ctx.saved_tensors
        if weight_g is None:
            row_grad = (row_grad * factor).to(weight_v.dtype)
            return (input_grad * factor).to(ctx.input_dtype), row_grad, *[None] * 8
        gain_grad = torch.empty_like(weight_g) if ctx.needs_input_grad[2] else None
        for block in row_blocks(row_grad):
            along = _to_parameters_(row_grad[block], weight_v[block], weight_g[block], factor)
            if gain_grad is not None:
                gain_grad[block] = along
        return (
            (input_grad * factor).to(ctx.input_dtype),
            row_grad.to(weight_v.dtype),
            gain_grad,
            *[None] * 7,
        )


def _rows(
    weight_v: Tensor, weight_g: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Rows (K, D) for the matrix products, and what their products (..., K) are multiplied by."""
    if weight_g is None:
        return weight_v.to(dtype), None
    if dtype in HALF:
        return normalised_rows(weight_v, weight_g, dtype), None
    # A copy of all rows would be as large as the logits of several images.
    return weight_v.to(dtype), (weight_g.to(dtype) / row_lengths(weight_v)).squeeze(1)


def _to_gradient_(
    log_probs: Tensor, target: Tensor, count: int, factor: float, weights: Tensor | None
) -> None:
    """Turns log-probabilities (B, K) into weights * factor * (count * p - target), in place."""
    log_probs.exp_()
    if count * factor != 1:
        log_probs.mul_(count * factor)
    log_probs.sub_(target, alpha=factor)
    if weights is not None:
        log_probs.mul_(weights.unsqueeze(1))


def most_rows(dtype: torch.dtype) -> int:
    """Returns the number of rows of logits that a precision has enough range for at a time."""
    return FLOAT16_HEADROOM // FLOAT16_FACTOR if dtype is torch.float16 else 1 << 62


def _factor(dtype: torch.dtype, rows: int) -> float:
    """A power of two by which gradients are larger until the backward pass.

    A gradient of 1/K is hardly a number in float16, and the scale of the loss comes only with the
    backward pass. No sum over ``rows`` logits that differ by 2 at most may overflow.
    """
    if dtype is not torch.float16:
        return 1.0
    return 2.0 ** max(0, (FLOAT16_HEADROOM // rows).bit_length() - 1)


def _add_product(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Adds left^T right, (K, D) of (R, K) and (R, D), to a total in float32 at least."""
    precise = at_least_float32(left[:0]).dtype
    if left.dtype == precise:
        return left.T @ right if total is None else total.addmm_(left.T, right)
    first = total is None
    if first:
        total = right.new_empty(left.shape[1], right.shape[1], dtype=precise)
    # Block by block, since the product in half precision is another matrix as large.
    for block in row_blocks(total):
        product = left[:, block].T @ right
        if first:
            total[block] = product
        else:
            total[block] += product
    return total


def _to_parameters_(row_grad: Tensor, weight_v: Tensor, weight_g: Tensor, factor: Tensor) -> Tensor:
    """Turns the gradient of rows g v / |v| into that of v, in place; returns that of g (K, 1)."""
    length = row_lengths(weight_v)
    along = torch.linalg.vecdot(weight_v, row_grad).unsqueeze(1).div_(length)
    scale = weight_g / length * factor
    row_grad.mul_(scale).addcmul_(weight_v, scale.mul_(along).div_(length), value=-1)
    return along.mul_(factor)
