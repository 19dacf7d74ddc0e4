"""The position of a run, counted in optimiser steps and epochs.

mmengine's runner counts micro-batches: with gradient accumulation, several of its iterations make
one optimiser step. The method's schedules and updates go by optimiser steps, so that 4
micro-batches of 1 are 1 batch of 4.
"""

from __future__ import annotations

from mmengine.optim import AmpOptimWrapper, ApexOptimWrapper, OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner

from mmdino.schedules import step_of


def accumulative_counts(optim_wrapper: OptimWrapper) -> int:
    """Returns how many micro-batches make an optimiser step."""
    return optim_wrapper._accumulative_counts


def current_step(runner: Runner) -> int:
    """Returns the optimiser step, from 0, that the current micro-batch belongs to."""
    return _step_of(runner, runner.iter)


def num_steps(runner: Runner) -> int:
    """Returns the optimiser steps of the whole run; the last may have fewer micro-batches."""
    return _step_of(runner, runner.max_iters - 1) + 1


def steps_of_epochs(runner: Runner, epochs: int) -> int:
    """Returns how many optimiser steps the first epochs have."""
    return _step_of(runner, epochs * len(runner.train_dataloader) - 1) + 1 if epochs else 0


def _step_of(runner: Runner, iteration: int) -> int:
    epoch_length = getattr(runner.optim_wrapper, "epoch_length", None)
    return step_of(iteration, accumulative_counts(runner.optim_wrapper), epoch_length)


def current_epoch(runner: Runner) -> int:
    """Returns the epoch, from 0, also where the loop counts iterations only."""
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        return runner.iter // len(runner.train_dataloader)
    return runner.epoch


def took_step(optim_wrapper: OptimWrapper) -> bool:
    """Returns whether the micro-batch that just ended made the optimiser move the weights.

    It did not in the middle of an accumulation, nor where the gradient scaler of fp16 skipped.

    Raises:
        TypeError: If the wrapper cannot tell.
    """
    if hasattr(optim_wrapper, "step_taken"):
        return optim_wrapper.step_taken
    scales_loss = isinstance(optim_wrapper, (AmpOptimWrapper, ApexOptimWrapper))
    if isinstance(optim_wrapper, OptimWrapper) and not scales_loss:
        return optim_wrapper.should_update()
    raise TypeError(
        f"The optim_wrapper is a {type(optim_wrapper).__name__}, which does not say when fp16 "
        "skips a step, after which teacher and centre must not move. Use "
        "optim_wrapper = dict(type='mmdino.StepOptimWrapper', precision='float16', ...)."
    )


def is_within_step(optim_wrapper: OptimWrapper) -> bool:
    """Returns whether the micro-batch that just ended left gradients that wait for their step."""
    if hasattr(optim_wrapper, "is_within_step"):
        return optim_wrapper.is_within_step()
    return isinstance(optim_wrapper, OptimWrapper) and not optim_wrapper.should_update()
