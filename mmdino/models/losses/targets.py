"""From the teacher's logits to what the student is to predict, as log-probabilities."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, numbers_at_once

LOGITS_AT_ONCE = 2**21
"""Logits whose exponentials are in memory at a time: few enough for a cache."""


def centered(logits: Tensor, center: Tensor | float, temperature: float) -> Tensor:
    """Centres and sharpens the teacher's logits (Caron et al. 2021, section 3.1).

    Args:
        logits: Teacher logits (..., K).
        center: Running mean of the teacher's logits (1, K); 0 only sharpens.
        temperature: Teacher temperature.

    Returns:
        Log-probabilities (..., K).
    """
    return functional.log_softmax((logits - center).div_(temperature), dim=-1)


@torch.no_grad()
def sinkhorn_knopp(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Assigns all samples of all ranks evenly to the prototypes (Caron et al. 2020, section 3.1).

    Each iteration divides by the totals of the prototypes, over all samples of all ranks, and then
    by those of the samples. Ranks may have different numbers of samples, even none, but must all
    call this.

    Args:
        logits: Teacher logits (..., K); all leading dimensions are samples.
        temperature: Teacher temperature, epsilon in SwAV.
        iterations: Number of iterations; the authors of SwAV and of DINOv2 use 3. With one, the
            codes are a softmax over the samples, divided by the total of each sample.

    Returns:
        Log-probabilities (..., K); those of a sample sum up to 1.
    """
    return centered(logits, sinkhorn_center(logits, temperature, iterations), temperature)


@torch.no_grad()
def sinkhorn_center(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Centre with which :func:`centered` gives what :func:`sinkhorn_knopp` does.

    Dividing by the total of a prototype is to subtract from its logits, and dividing by the totals
    of the samples is the softmax. Hence no matrix but the logits has to exist, and no temperature
    overflows: the first totals are taken with logarithms, and those of later iterations, N samples
    in all, are at least 1 / (N K).

    Args:
        logits: Teacher logits (..., K); all leading dimensions are samples.
        temperature: Teacher temperature.
        iterations: Number of iterations.

    Returns:
        The centre (K,), the same on all ranks, in float32 at least.
    """
    logits = logits.flatten(0, -2)
    numbers = numbers_at_once(logits.device, LOGITS_AT_ONCE)
    blocks = logits.split(max(1, numbers // logits.shape[1]))
    # Of no samples it is minus infinity.
    largest = at_least_float32(
        logits.amax(0) if len(logits) else logits.new_full((logits.shape[1],), -torch.inf)
    )
    all_reduce(largest, "max")
    totals = _sum_over_ranks(
        ((at_least_float32(block) - largest) / temperature).exp_().sum(0) for block in blocks
    )
    center = largest + temperature * totals.log()
    for _ in range(iterations - 1):
        totals = _sum_over_ranks(
            ((at_least_float32(block) - center) / temperature).softmax(-1).sum(0)
            for block in blocks
        )
        center += temperature * totals.log()
    return center


def _sum_over_ranks(parts: Iterable[Tensor]) -> Tensor:
    total = reduce(Tensor.add_, parts)
    all_reduce(total)
    return total
