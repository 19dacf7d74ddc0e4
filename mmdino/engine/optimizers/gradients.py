"""Gradient clipping as the reference does it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_each_tensor_(parameters: Iterable[Tensor], max_norm: float) -> tuple[Tensor, Tensor]:
    """Scales each gradient whose norm exceeds ``max_norm`` down to it, in place.

    ``torch.nn.utils.clip_grad_norm_`` bounds the norm over all tensors together; the reference
    bounds each tensor's own.

    Args:
        parameters: Parameters, some of which may have no gradient.
        max_norm: Largest norm left to a tensor.

    Returns:
        The norm over all gradients before clipping, and the number of tensors that were clipped.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not grads:
        return torch.zeros(()), torch.zeros((), dtype=torch.int64)
    norms = torch.stack(torch._foreach_norm(grads))
    # The small number is the reference's; it keeps a zero gradient from a division by zero.
    scales = max_norm / (norms + 1e-6)
    torch._foreach_mul_(grads, list(scales.clamp(max=1.0).unbind()))
    return torch.linalg.vector_norm(norms), (scales < 1).sum()
