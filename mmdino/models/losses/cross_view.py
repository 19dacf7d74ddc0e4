"""The loss as plain functions of logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def teacher_targets(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """Centred and sharpened distributions of the teacher.

    Args:
        logits: Teacher logits (..., K).
        center: Running mean of the teacher's logits (1, K).
        temperature: Teacher temperature.

    Returns:
        Logarithms of the distributions (..., K).
    """
    return functional.log_softmax((logits - center) / temperature, dim=-1)


def cross_view_loss(student_log_probs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over the pairs of a teacher view and another view of the student.

    Equation 3 of Caron et al. 2021. The cross-entropy is linear in the target, so the targets that
    a student view is compared with are added first and each view is read once, not once a pair.

    Args:
        student_log_probs: Log-probabilities (V, B, K), the G global views first.
        targets: Distributions of the teacher (G, B, K).

    Returns:
        The mean over G * (V - 1) pairs and the batch, in nats.
    """
    num_views, batch_size, _ = student_log_probs.shape
    num_globals = len(targets)
    total = student_log_probs.new_zeros(())
    for view in range(num_globals):
        others = [target for index, target in enumerate(targets) if index != view]
        if others:
            total = total - (sum(others) * student_log_probs[view]).sum()
    if num_views > num_globals:
        total = total - (targets.sum(0) * student_log_probs[num_globals:]).sum()
    return total / (num_globals * (num_views - 1) * batch_size)


@torch.no_grad()
def entropy(log_probs: Tensor) -> Tensor:
    """Mean entropy in nats of distributions given by their logarithms (..., K)."""
    return -(log_probs.exp() * log_probs).sum(-1).mean()
