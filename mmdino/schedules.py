"""Schedules as pure functions of the step.

Optimiser steps and epochs count from 0. Scheduled values depend only on the iteration count, so a
resumed run needs no state of them.
"""

from __future__ import annotations

import math


def cosine(step: int, num_steps: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` to ``end``.

    For weight decay and teacher momentum (Caron et al. 2021, section 3.1 and "Implementation
    details").

    Args:
        step: Current step, 0 to ``num_steps - 1``.
        num_steps: Number of steps of the schedule.
        start: Value at step 0.
        end: Value at step ``num_steps``, one after the last.
    """
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * step / num_steps))


def linear_warmup(step: int, warmup_steps: int, start: float, end: float) -> float:
    """Linear from ``start`` at step 0 to ``end`` at step ``warmup_steps - 1``, then constant.

    For the teacher temperature, with epochs as steps. A single warm-up step has the value
    ``start``; without warm-up steps the value is ``end`` throughout.
    """
    if step >= warmup_steps:
        return end
    if warmup_steps == 1:
        return start
    return start + (end - start) * step / (warmup_steps - 1)


def warmup_cosine(
    step: int, num_steps: int, warmup_steps: int, peak: float, end: float, start: float = 0.0
) -> float:
    """Learning rate: linear warm-up from ``start`` to ``peak``, then half a cosine to ``end``."""
    if step < warmup_steps:
        return linear_warmup(step, warmup_steps, start, peak)
    return cosine(step - warmup_steps, num_steps - warmup_steps, peak, end)


def delayed_warmup_cosine(
    step: int, num_steps: int, warmup_steps: int, peak: float, end: float, start: float = 0.0
) -> float:
    """Learning rate of a timm scheduler that moves after the optimiser, with the step just done.

    The first two steps have the value ``start``, the warm-up reaches ``peak`` one step after its
    ``warmup_steps``, where half a cosine begins, and the last step is one before ``end``.
    """
    index = max(step - 1, 0)
    if index < warmup_steps:
        return start + (peak - start) * index / warmup_steps
    return cosine(index - warmup_steps, num_steps - warmup_steps, peak, end)


def late_cosine(step: int, start_step: int, warmup_steps: int, before: float, end: float) -> float:
    """Constant until ``start_step``, then half a cosine to ``end``, then constant.

    For the Gram term (DINOv3). Both ends of the cosine are among its ``warmup_steps``: it has the
    value ``before`` at ``start_step`` and ``end`` at ``start_step + warmup_steps - 1``. With one
    step or none the value is ``end`` from ``start_step`` on.
    """
    if step < start_step:
        return before
    if step >= start_step + warmup_steps - 1:
        return end
    return cosine(step - start_step, warmup_steps - 1, before, end)


def step_of(iteration: int, counts: int, epoch_length: int | None) -> int:
    """Returns the optimiser step of a micro-batch, both counted from 0.

    Args:
        iteration: Index of the micro-batch.
        counts: Micro-batches per optimiser step.
        epoch_length: Micro-batches per epoch if the last step of an epoch ends with it, None if
            steps may span two epochs.
    """
    if epoch_length is None:
        return iteration // counts
    epoch, position = divmod(iteration, epoch_length)
    return epoch * math.ceil(epoch_length / counts) + position // counts
