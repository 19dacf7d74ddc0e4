"""The batch of an optimiser step and its learning rate."""

from __future__ import annotations

from mmengine.dist import get_world_size
from mmengine.runner import Runner

from mmdino.engine.progress import accumulative_counts
from mmdino.engine.schedulers.warmup_cosine_lr import peak_lr


def effective_batch(runner: Runner) -> int:
    """Returns the number of images of an optimiser step, over all ranks."""
    counts = accumulative_counts(runner.optim_wrapper)
    return runner.train_dataloader.batch_size * get_world_size() * counts


def batch_and_rate(runner: Runner) -> str:
    """Returns the effective batch and the peak learning rate of a run in words."""
    group = runner.optim_wrapper.optimizer.param_groups[0]
    peak = peak_lr(group.get("initial_lr", group["lr"]), group)
    return (
        f"Effective batch: {runner.train_dataloader.batch_size} images x {get_world_size()} "
        f"rank(s) x {accumulative_counts(runner.optim_wrapper)} micro-batch(es) = "
        f"{effective_batch(runner)}. Peak learning rate: {peak:.4g}."
    )
