"""Stops at a loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.checkpoints import newest_checkpoint
from mmdino.registry import HOOKS

MAX_NAMED_FILES = 16


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops the run when the loss is not finite, before it reaches teacher, centre or checkpoint.

    Raises:
        ValueError: From the run, with the iteration, the learning rate, the gradient norm, the
            files of the batch and the last good checkpoint: one whose weights are finite and gave
            a finite loss.

    Example:
        >>> custom_hooks = [dict(type="mmdino.FiniteLossHook")]
    """

    # After the loss is logged, before the hooks of normal priority.
    priority = "ABOVE_NORMAL"

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the loss of the iteration."""
        loss = outputs["loss"].item()
        if math.isfinite(loss):
            return
        hub = runner.message_hub
        norms = hub.log_scalars.get("train/grad_norm")
        norm = f"{norms.current():.4g}" if norms else "not measured (no clip_grad)"
        raise ValueError(
            f"The loss is {loss} at iteration {runner.iter + 1} (epoch {runner.epoch + 1}), with "
            f"learning rate {runner.optim_wrapper.get_lr()['lr'][0]:.4g} and gradient norm {norm}. "
            f"{_last_good(runner)} with a lower learning rate, a smaller clip_grad.max_norm, or "
            "bfloat16 in place of float16; look at the images of the batch first. Files of the "
            f"batch: {_name_files(batch_files(data_batch))}"
        )


def _last_good(runner: Runner) -> str:
    """Names the newest checkpoint whose weights are finite and gave a finite loss, and its use."""
    if "last_ckpt" not in runner.message_hub.runtime_info:
        return "No checkpoint has been written. Start again"
    # The weights after runner.iter iterations gave this loss: only earlier ones can be good.
    search = newest_checkpoint(runner.work_dir, before=runner.iter)
    if search.found is not None:
        return f"Last good checkpoint: {search}. Resume from it (--resume {search.found.path})"
    return (
        "No good checkpoint: the only one holds the weights that gave this loss. Start again, in "
        "another work dir,"
    )


def batch_files(data_batch: dict) -> list[str]:
    """Returns the paths of a batch's images, as far as its samples carry them."""
    return [
        str(sample.get("img_path"))
        for sample in data_batch.get("data_samples") or []
        if sample.get("img_path") is not None
    ]


def _name_files(files: list[str]) -> str:
    if not files:
        return "unknown (img_path is not among the meta_keys of PackInputs)."
    more = len(files) - MAX_NAMED_FILES
    return ", ".join(files[:MAX_NAMED_FILES]) + (f" and {more} more." if more > 0 else ".")
