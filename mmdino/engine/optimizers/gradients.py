"""Gradient clipping as in the reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.distributed import ProcessGroup

from mmdino.engine.host_reads import waits
from mmdino.utils.float64 import widest


@torch.no_grad()
def clip_each_tensor_(
    parameters: Iterable[Tensor], max_norm: float, shard_group: ProcessGroup | None = None
) -> tuple[Tensor | float, Tensor | int]:
    """Scales each gradient whose norm exceeds ``max_norm`` down to it, in place.

    ``torch.nn.utils.clip_grad_norm_`` bounds the norm over all tensors together; the reference
    bounds each tensor's own.

    Args:
        parameters: Parameters, some of which may have no gradient.
        max_norm: Largest norm left to a tensor.
        shard_group: Ranks that each hold a part of every tensor; the norms are then those of the
            whole tensors, and all these ranks must call this together. None if tensors are whole.

    Returns:
        The norm over all gradients before clipping, and the number of tensors that were clipped;
        both as tensors () where the host would have to wait for them.
    """
    parameters = list(parameters)
    if shard_group is not None:
        norms = whole_norms(parameters, shard_group)
    else:
        parameters = [parameter for parameter in parameters if parameter.grad is not None]
        if not parameters:
            return 0.0, 0
        norms = torch.stack(torch._foreach_norm([parameter.grad for parameter in parameters]))
    # The small number is the reference's; it keeps a zero gradient from a division by zero.
    scales = (max_norm / (norms + 1e-6)).clamp(max=1.0)
    if waits(norms):
        # One kernel for each gradient: more work for host and device than below, but no wait.
        held = [place for place, parameter in enumerate(parameters) if parameter.grad is not None]
        is_clipped = scales < 1
        factors = torch.where(is_clipped, scales, 1.0).unbind()
        gradients = [parameters[place].grad for place in held]
        torch._foreach_mul_(gradients, [factors[place] for place in held])
        return torch.linalg.vector_norm(norms), is_clipped.sum()
    # One call for all gradients that are to be scaled, and none of the others.
    norm, *factors = torch.cat([torch.linalg.vector_norm(norms)[None], scales]).tolist()
    clipped = [
        (parameter.grad, factor)
        for parameter, factor in zip(parameters, factors, strict=True)
        if factor < 1 and parameter.grad is not None
    ]
    if clipped:
        torch._foreach_mul_(*map(list, zip(*clipped, strict=True)))
    return norm, sum(factor < 1 for factor in factors)


@torch.no_grad()
def clip_together_(
    parameters: Iterable[Tensor], max_norm: float, shard_group: ProcessGroup | None = None
) -> Tensor | float:
    """Scales gradients so that the norm over all of them is at most ``max_norm``, in place.

    Args:
        parameters: Parameters, some of which may have no gradient.
        max_norm: Largest norm.
        shard_group: As in :func:`clip_each_tensor_`.

    Returns:
        The norm before clipping, as a tensor () where the host would have to wait for it.
    """
    parameters = list(parameters)
    if shard_group is not None:
        norms = whole_norms(parameters, shard_group)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if shard_group is None:
        if not gradients:
            return 0.0
        norms = torch.stack(torch._foreach_norm(gradients))
    norm = torch.linalg.vector_norm(norms)
    if waits(norm):
        # In double precision, as the host computes below.
        factor = max_norm / (widest(norm) + 1e-6)
        if gradients:
            factor = torch.where(factor < 1, factor, 1.0).to(norm.dtype)
            torch._foreach_mul_(gradients, factor)
        return norm
    norm = norm.item()
    # The small number is that of torch.nn.utils.clip_grad_norm_.
    factor = max_norm / (norm + 1e-6)
    if factor < 1 and gradients:
        torch._foreach_mul_(gradients, factor)
    return norm


def joint_norm(norms: Sequence[Tensor | float]) -> Tensor | float:
    """Returns the norm over the gradients of several parts, given the norms of the parts."""
    on_device = [norm for norm in norms if isinstance(norm, Tensor)]
    if not on_device:
        return math.hypot(*norms)
    # A part without gradients has 0.0, which adds nothing.
    return torch.linalg.vector_norm(widest(torch.stack(on_device)))


def whole_norms(parameters: Sequence[Tensor], shard_group: ProcessGroup) -> Tensor:
    """Returns the norm of each whole gradient, of which every rank holds a part.

    Args:
        parameters: P parameters, the same on all ranks. One of which a rank holds nothing has no
            gradient there.
        shard_group: The ranks.

    Returns:
        Norms (P,), 0 where no rank has a gradient.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = iter(torch._foreach_norm(gradients) if gradients else ())
    nothing = torch.zeros((), dtype=parameters[0].dtype, device=parameters[0].device)
    # Not by indices, which would have to be copied to the device while the host waits.
    squares = torch.stack([nothing if p.grad is None else next(norms) for p in parameters]).square()
    all_reduce(squares, group=shard_group)
    return squares.sqrt()
