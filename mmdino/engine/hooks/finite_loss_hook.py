"""Stops at a loss that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmdino.engine.checkpoints import newest_checkpoint
from mmdino.engine.deferred_history import newest_value
from mmdino.engine.host_reads import HostCopy, waits
from mmdino.registry import HOOKS

MAX_NAMED_FILES = 16


@dataclass(frozen=True)
class UnreadLoss:
    """The loss of an iteration, which is still to be read, and what the message would say of it.

    Attributes:
        loss: The loss.
        iteration: Its iteration, from 0.
        epoch: Its epoch, from 0.
        rate: Its learning rate, None if it is not logged.
        norm: The gradient norm, None if it is not measured.
        samples: The samples of its batch.
    """

    loss: HostCopy
    iteration: int
    epoch: int
    rate: Tensor | float | None
    norm: Tensor | float | None
    samples: Iterable[BaseDataElement] | None


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops the run when the loss is not finite, before weights after it reach a checkpoint.

    On a CPU it stops before the loss reaches teacher and centre too. On a device the loss of an
    iteration is read at the end of the next one, since the host would have to wait for it; and
    before a checkpoint is written, at the end of an epoch and before a validation.

    Raises:
        ValueError: From the run, with the iteration, the learning rate, the gradient norm, the
            files of the batch and the last good checkpoint: one whose weights are finite and gave
            a finite loss.

    Example:
        >>> custom_hooks = [dict(type="mmdino.FiniteLossHook")]
    """

    # After the loss is logged, before the hooks of normal priority.
    priority = "ABOVE_NORMAL"

    def __init__(self) -> None:
        self._unread: UnreadLoss | None = None

    def before_train(self, runner: Runner) -> None:
        """Forgets the loss of another run, which may have been interrupted."""
        self._unread = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the loss of the iteration before, and on a CPU that of the iteration."""
        self.check_unread_loss(runner)
        loss = outputs["loss"]
        reads_later = waits(loss)
        if not reads_later and math.isfinite(loss.item()):
            return
        scalars = runner.message_hub.log_scalars
        rate, norm = (
            newest_value(scalars[name]) if name in scalars else None
            for name in ("train/lr", "train/grad_norm")
        )
        self._unread = UnreadLoss(
            HostCopy([loss]),
            runner.iter,
            runner.epoch,
            rate,
            norm,
            data_batch.get("data_samples") if isinstance(data_batch, Mapping) else None,
        )
        if not reads_later:
            self.check_unread_loss(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Checks the last loss of the epoch."""
        self.check_unread_loss(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Checks the last loss before a validation."""
        self.check_unread_loss(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks the last loss before a checkpoint is written."""
        self.check_unread_loss(runner)

    def after_train(self, runner: Runner) -> None:
        """Checks the last loss of the run."""
        self.check_unread_loss(runner)

    def check_unread_loss(self, runner: Runner) -> None:
        """Checks the loss that has not been read yet, if there is one.

        Raises:
            ValueError: If it is not finite.
        """
        unread, self._unread = self._unread, None
        if unread is None:
            return
        (loss,) = unread.loss.read()
        if math.isfinite(loss):
            return
        rate = "unknown" if unread.rate is None else f"{float(unread.rate):.4g}"
        norm = "not measured (no clip_grad)" if unread.norm is None else f"{float(unread.norm):.4g}"
        raise ValueError(
            f"The loss is {loss} at iteration {unread.iteration + 1} (epoch {unread.epoch + 1}), "
            f"with learning rate {rate} and gradient norm {norm}. "
            f"{_last_good(runner, unread.iteration)} with a lower learning rate, a smaller "
            "clip_grad.max_norm, or bfloat16 in place of float16; look at the images of the batch "
            f"first. Files of the batch: {_name_files(files_of(unread.samples))}"
        )


def _last_good(runner: Runner, iteration: int) -> str:
    """Names the newest checkpoint whose weights are finite and gave a finite loss, and its use."""
    if "last_ckpt" not in runner.message_hub.runtime_info:
        return "No checkpoint has been written. Start again"
    # The weights after so many iterations gave this loss: only earlier ones can be good.
    search = newest_checkpoint(runner.work_dir, before=iteration)
    if search.found is not None:
        return f"Last good checkpoint: {search}. Resume from it (--resume {search.found.path})"
    return (
        "No good checkpoint: the only one holds the weights that gave this loss. Start again, in "
        "another work dir,"
    )


def files_of(samples: Iterable[BaseDataElement] | None) -> list[str]:
    """Returns the paths of images, as far as their samples carry them."""
    return [
        str(sample.get("img_path"))
        for sample in samples or []
        if sample.get("img_path") is not None
    ]


def _name_files(files: list[str]) -> str:
    if not files:
        return "unknown (img_path is not among the meta_keys of PackInputs)."
    more = len(files) - MAX_NAMED_FILES
    return ", ".join(files[:MAX_NAMED_FILES]) + (f" and {more} more." if more > 0 else ".")
