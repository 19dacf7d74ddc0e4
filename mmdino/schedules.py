"""The method's schedules as pure functions of the step.

A step is an optimiser step counted from 0, an epoch one counted from 0. Nothing here keeps state,
so every scheduled value follows from the iteration count and a resumed run needs none of them from
the checkpoint.
"""

from __future__ import annotations

import math


def cosine(step: int, num_steps: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` at step 0 towards ``end``, which step ``num_steps`` would reach.

    Used for the weight decay and the teacher's momentum over all steps of a run (Caron et al. 2021,
    section 3.1 and "Implementation details").

    Args:
        step: Current step, 0 to ``num_steps - 1``.
        num_steps: Steps of the schedule.
        start: Value of step 0.
        end: Value after the last step.
    """
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * step / num_steps))


def linear_warmup(step: int, warmup_steps: int, start: float, end: float) -> float:
    """A straight line from ``start`` at step 0 to ``end`` at step ``warmup_steps - 1`` and after.

    Used for the teacher's temperature, with epochs as steps. A single warm-up step has the value
    ``start``, no warm-up step at all is ``end`` from the beginning.
    """
    if step >= warmup_steps:
        return end
    if warmup_steps == 1:
        return start
    return start + (end - start) * step / (warmup_steps - 1)


def warmup_cosine(step: int, num_steps: int, warmup_steps: int, peak: float, end: float) -> float:
    """The learning rate: from 0 to ``peak`` on a straight line, then half a cosine to ``end``."""
    if step < warmup_steps:
        return linear_warmup(step, warmup_steps, 0.0, peak)
    return cosine(step - warmup_steps, num_steps - warmup_steps, peak, end)


def step_of(iteration: int, counts: int, epoch_length: int | None) -> int:
    """Returns the optimiser step, from 0, that a micro-batch belongs to.

    Args:
        iteration: The micro-batch, from 0.
        counts: Micro-batches an optimiser step.
        epoch_length: Micro-batches an epoch, where the last step of an epoch ends with it; None
            where steps run on into the next epoch.
    """
    if epoch_length is None:
        return iteration // counts
    epoch, place = divmod(iteration, epoch_length)
    return epoch * math.ceil(epoch_length / counts) + place // counts
