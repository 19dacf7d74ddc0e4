"""Last layer and loss in one, a few images at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mmdino.models.layers import HALF, at_least_float32, normalised_rows, row_blocks, row_lengths
from mmdino.models.losses.cross_view import teacher_targets

FLOAT16_ROOM = 2**14


@dataclass
class UnprojectedLogits:
    """Student logits (V, B, K) that are not computed yet: what goes into the last layer, and it.

    Attributes:
        features: V views of B images (V, B, D), of length 1, the global views first.
        weight_v: Directions (K, D) of the prototypes, of any length.
        weight_g: Lengths (K, 1) of the prototypes.
        dtype: Precision that the matrix products have.
    """

    features: Tensor
    weight_v: Tensor
    weight_g: Tensor
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (V, B, K) of the logits."""
        return (*self.features.shape[:-1], len(self.weight_v))


class PrototypeLoss(torch.autograd.Function):
    """The loss from what enters the last layer, without the logits of all views at once.

    Logits of a few images at a time become, in place, log-probabilities, probabilities and the
    gradient; what is left of them is a number, the gradient of the features and that of the rows.
    The gradient is thus computed in the forward pass, from the only logits there ever are.

    With n the number of teacher views that a student view is compared with, T the sum of their
    distributions and p the student's, the gradient of the loss with respect to a logit is
    (n p - T) / temperature, over the number of pairs and images.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        features: Tensor,
        weight_v: Tensor,
        weight_g: Tensor,
        teacher_logits: Tensor,
        center: Tensor,
        teacher_temp: float,
        student_temp: float,
        chunk: int,
        dtype: torch.dtype,
        with_grad: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Computes loss, entropy of the teacher and its winners.

        Args:
            ctx: Autograd's context.
            features: V views of B images (V, B, D), of length 1, the G global views first.
            weight_v: Directions (K, D) of the prototypes, of any length.
            weight_g: Lengths (K, 1) of the prototypes.
            teacher_logits: Logits (G, B, K) of the teacher.
            center: Their running mean (1, K).
            teacher_temp: Temperature of the teacher.
            student_temp: Temperature of the student.
            chunk: Number of images whose logits are held at a time.
            dtype: Precision of the matrix products; all else is in float32 at least.
            with_grad: Whether a backward pass may follow.

        Returns:
            The loss (), the mean entropy of the teacher () and the prototypes (G, B) that come
            first in its distributions.
        """
        num_views, batch_size, _ = features.shape
        num_globals = len(teacher_logits)
        rows, scale = _rows(weight_v, weight_g, dtype)
        low = features.to(dtype)
        precise = at_least_float32(features).dtype
        loss, entropy = (torch.zeros((), dtype=precise, device=low.device) for _ in range(2))
        winners = torch.empty(teacher_logits.shape[:2], dtype=torch.int64, device=low.device)
        factor = _factor(dtype, num_views * min(chunk, batch_size))
        feature_grad = torch.empty_like(low) if with_grad else None
        row_grad = None
        for start in range(0, batch_size, chunk):
            images = slice(start, start + chunk)
            log_targets = teacher_targets(
                at_least_float32(teacher_logits[:, images]), center, teacher_temp
            )
            winners[:, images] = log_targets.argmax(-1)
            targets = log_targets.exp()
            entropy -= torch.linalg.vecdot(targets, log_targets).sum()
            del log_targets
            x = low[:, images].flatten(0, 1)
            logits = at_least_float32(x @ rows.T)
            logits.mul_(1 / student_temp if scale is None else scale / student_temp)
            log_probs = torch.log_softmax(logits, dim=-1).unflatten(0, (num_views, -1))
            del logits
            for view, (target, count) in enumerate(_compared(targets, num_views)):
                loss -= torch.linalg.vecdot(target, log_probs[view]).sum()
                if with_grad:
                    _to_gradient_(log_probs[view], target, count, factor)
            if not with_grad:
                continue
            logit_grad = log_probs.flatten(0, 1)
            low_grad = logit_grad.to(dtype)
            row_grad = _add_product(row_grad, low_grad, x)
            if scale is not None:
                low_grad = logit_grad.mul_(scale).to(dtype)
            feature_grad[:, images] = (low_grad @ rows).unflatten(0, (num_views, -1))
        pairs = num_globals * (num_views - 1) * batch_size
        if with_grad:
            ctx.gradients = (feature_grad, row_grad)
            ctx.feature_dtype = features.dtype
            ctx.divisor = factor * student_temp * pairs
            ctx.save_for_backward(weight_v, weight_g)
        entropy /= num_globals * batch_size
        ctx.mark_non_differentiable(entropy, winners)
        return loss / pairs, entropy, winners

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Scales the gradients by that of the loss and takes those of the rows to the parameters.

        Raises:
            RuntimeError: If it is called a second time; the first has used the memory up.
        """
        if ctx.gradients is None:
            raise RuntimeError(
                "A second backward pass through the fused DINO loss: its first one has overwritten "
                "what it needs. Set model.loss.chunk=None for a loss that keeps its graph."
            )
        (feature_grad, row_grad), ctx.gradients = ctx.gradients, None
        share = grad_loss / ctx.divisor
        weight_v, weight_g = ctx.saved_tensors
        gain_grad = torch.empty_like(weight_g) if ctx.needs_input_grad[2] else None
        for block in row_blocks(row_grad):
            along = _to_parameters_(row_grad[block], weight_v[block], weight_g[block], share)
            if gain_grad is not None:
                gain_grad[block] = along
        return (
            (feature_grad * share).to(ctx.feature_dtype),
            row_grad.to(weight_v.dtype),
            gain_grad,
            *[None] * 7,
        )


def _rows(weight_v: Tensor, weight_g: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Rows (K, D) for the matrix products, and what their products (..., K) are multiplied by."""
    if dtype in HALF:
        return normalised_rows(weight_v, weight_g, dtype), None
    # A copy of all rows would be as large as the logits of several images.
    return weight_v.to(dtype), (weight_g.to(dtype) / row_lengths(weight_v)).squeeze(1)


def _compared(targets: Tensor, num_views: int) -> Iterator[tuple[Tensor, int]]:
    """Yields for each student view the sum of the targets (B, K) it is compared with, and how many.

    Those are the teacher's global views (G, B, K) except the student's own.
    """
    num_globals = len(targets)
    total = targets.sum(0)
    for view in range(num_views):
        if view >= num_globals:
            yield total, num_globals
        elif num_globals == 2:
            yield targets[1 - view], 1
        else:
            others = [target for index, target in enumerate(targets) if index != view]
            yield sum(others, torch.zeros_like(total)), num_globals - 1


def _to_gradient_(log_probs: Tensor, target: Tensor, count: int, factor: float) -> None:
    """Turns log-probabilities (B, K) into factor * (count * probabilities - target), in place."""
    log_probs.exp_()
    if count * factor != 1:
        log_probs.mul_(count * factor)
    log_probs.sub_(target, alpha=factor)


def _factor(dtype: torch.dtype, rows: int) -> float:
    """A power of two by which gradients are larger until the backward pass.

    A gradient of 1/K is hardly a number in float16, and the scale of the loss comes only with the
    backward pass. No sum over ``rows`` logits that differ by 2 at most may overflow.
    """
    if dtype is not torch.float16:
        return 1.0
    return 2.0 ** max(0, (FLOAT16_ROOM // rows).bit_length() - 1)


def _add_product(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Adds left^T right, (K, D) of (R, K) and (R, D), to a total in float32 at least."""
    if total is None:
        return at_least_float32(left.T @ right)
    if total.dtype == left.dtype:
        return total.addmm_(left.T, right)
    return total.add_(left.T @ right)


def _to_parameters_(row_grad: Tensor, weight_v: Tensor, weight_g: Tensor, share: Tensor) -> Tensor:
    """Turns the gradient of rows g v / |v| into that of v, in place; returns that of g (K, 1)."""
    length = row_lengths(weight_v)
    direction = weight_v / length
    along = torch.linalg.vecdot(direction, row_grad).unsqueeze(1)
    row_grad.sub_(direction.mul_(along)).mul_(weight_g / length * share)
    return along.mul_(share)
