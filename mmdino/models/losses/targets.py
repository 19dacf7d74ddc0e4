"""From the teacher's logits to what the student is to predict, as log-probabilities."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from torch import Tensor
from torch.nn import functional


def centered(logits: Tensor, center: Tensor | float, temperature: float) -> Tensor:
    """Centres and sharpens the teacher's logits (Caron et al. 2021, section 3.1).

    Args:
        logits: Teacher logits (..., K).
        center: Running mean of the teacher's logits (1, K); 0 only sharpens.
        temperature: Teacher temperature.

    Returns:
        Log-probabilities (..., K).
    """
    return functional.log_softmax((logits - center) / temperature, dim=-1)


@torch.no_grad()
def sinkhorn_knopp(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Assigns all samples of all ranks evenly to the prototypes (Caron et al. 2020, section 3.1).

    Each iteration divides by the totals of the prototypes, over all samples of all ranks, and then
    by those of the samples. Computed with logarithms, so that no temperature overflows. Ranks may
    have different numbers of samples, but must all call this.

    Args:
        logits: Teacher logits (..., K); all leading dimensions are samples.
        temperature: Teacher temperature, epsilon in SwAV.
        iterations: Number of iterations; the authors of SwAV and of DINOv2 use 3. With one, the
            codes are a softmax over the samples, divided by the total of each sample.

    Returns:
        Log-probabilities (..., K); those of a sample sum up to 1.
    """
    log_codes = (logits / temperature).flatten(0, -2)
    for _ in range(iterations):
        log_codes = log_codes - _log_sum_over_ranks(log_codes)
        log_codes = functional.log_softmax(log_codes, dim=-1)
    return log_codes.view_as(logits)


def _log_sum_over_ranks(values: Tensor) -> Tensor:
    """Logarithm of the sum of exp(values) (N, K) over the samples of all ranks: (K,)."""
    nothing = values.new_full((1, values.shape[1]), -torch.inf)
    largest = torch.cat([values, nothing]).amax(0)
    all_reduce(largest, "max")
    total = (values - largest).exp().sum(0)
    all_reduce(total)
    return total.log() + largest
