"""An epoch-based loop that resumes in the middle of an epoch."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.runner import EpochBasedTrainLoop

from mmdino.engine.model_access import bare_model, starts_from_weights
from mmdino.engine.optimizers import StepOptimWrapper
from mmdino.engine.progress import accumulative_counts
from mmdino.engine.schedulers.step_scheduler import StepScheduler
from mmdino.registry import LOOPS

EPOCH_LENGTH = "epoch_length"
"""Iterations of an epoch, in the message hub, which every checkpoint has."""


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop`` whose resumed runs equal uninterrupted ones.

    mmengine repeats an epoch from its start if the checkpoint was written within it. This loop
    continues with the next batch, which ``EpochSampler`` makes possible without reading the ones
    before. It also gives the sampler the seed of the resumed run, and ends an accumulation with the
    epoch, so that no gradient is pending when a checkpoint is written between epochs.

    Args:
        *args: Arguments of ``EpochBasedTrainLoop``.
        val_at_start: Whether to validate before the first iteration. By default only if weights
            were loaded (``load_from``, or an ``init_cfg`` of the backbone), so that a later drop
            shows; True evaluates an untrained network too.
        **kwargs: Arguments of ``EpochBasedTrainLoop``.

    Example:
        >>> train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=100, val_at_start=True)
    """

    def __init__(self, *args: Any, val_at_start: bool | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.val_at_start = val_at_start
        if not len(self.dataloader):
            raise ValueError(
                f"The data set has {len(self.dataloader.dataset)} image(s), fewer than a batch of "
                f"{self.dataloader.batch_size} on each of {get_world_size()} rank(s), and "
                "drop_last leaves none. Lower train_dataloader.batch_size."
            )

    def run(self) -> torch.nn.Module:
        """Trains."""
        self._require_same_length()
        self._share_seed()
        self._end_steps_with_epochs()
        self.runner.call_hook("before_train")
        model = bare_model(self.runner)
        if hasattr(model, "require_needs_met"):
            model.require_needs_met()
        self._say_what_is_compared()
        if self.runner.val_loop is not None and self._validates_at_start():
            self.runner.val_loop.run()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self.runner.val_loop is not None and self._validates_now():
                self.runner.val_loop.run()
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        """Runs the rest of the current epoch."""
        done = self._iter - self._epoch * len(self.dataloader)
        if not 0 <= done <= len(self.dataloader):
            raise self._does_not_fit()
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        if done:
            self._skip(done)
        for idx, data_batch in enumerate(self.dataloader, start=done):
            self.run_iter(idx, data_batch)
        if done:
            self._skip(0)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1

    def _require_same_length(self) -> None:
        """Refuses to resume with epochs of another length.

        The iterations alone do not tell: those of the first epoch are also two epochs half as long,
        of which the second would count as done.
        """
        length = len(self.dataloader)
        if self._iter and self.runner.message_hub.get_info(EPOCH_LENGTH, length) != length:
            raise self._does_not_fit()
        self.runner.message_hub.update_info(EPOCH_LENGTH, length)

    def _does_not_fit(self) -> ValueError:
        return ValueError(
            f"The checkpoint stands at iteration {self._iter} in epoch {self._epoch}, which "
            f"does not fit an epoch of {len(self.dataloader)} iterations. Resume with the data "
            "set, batch size and number of ranks of the interrupted run, or start a new run "
            "from its weights with load_from."
        )

    def _validates_now(self) -> bool:
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        return due and self._epoch >= self.val_begin

    def _validates_at_start(self) -> bool:
        if self._iter:
            # The checkpoint of an epoch is written before its validation, which may not have come
            # to its end.
            return self._iter == self._epoch * len(self.dataloader) and self._validates_now()
        if self.val_at_start is not None:
            return self.val_at_start
        return starts_from_weights(self.runner)

    def _skip(self, batches: int) -> None:
        sampler = self.dataloader.sampler
        if not hasattr(sampler, "set_start"):
            raise ValueError(
                f"Resuming within an epoch needs a sampler that can start there, but the "
                f"train_dataloader has a {type(sampler).__name__}. Use "
                "sampler=dict(type='mmdino.EpochSampler', shuffle=True), or checkpoints by epoch."
            )
        sampler.set_start(batches * self.dataloader.batch_size)

    def _end_steps_with_epochs(self) -> None:
        """Keeps an accumulation from running on into the next epoch.

        Else a checkpoint between epochs would lose the gradients that wait for their step, and an
        epoch of small batches would not be one of large batches.
        """
        if isinstance(self.runner.optim_wrapper, StepOptimWrapper):
            self.runner.optim_wrapper.epoch_length = len(self.dataloader)
            for scheduler in self.runner.param_schedulers or []:
                if isinstance(scheduler, StepScheduler):
                    scheduler.apply()
            if self.runner.optim_wrapper.is_within_step():
                self.runner.logger.warning(
                    f"The checkpoint was written at iteration {self._iter}, within an accumulation:"
                    " the gradients that waited for their step are lost. mmdino.CheckpointHook "
                    "waits for the end of a step: default_hooks.checkpoint.type="
                    "mmdino.CheckpointHook."
                )

    def _say_what_is_compared(self) -> None:
        """Says once that a loss that compares images sees a micro-batch, not the step's batch."""
        counts = accumulative_counts(self.runner.optim_wrapper)
        model = bare_model(self.runner)
        comparing = [m for m in model.modules() if getattr(m, "compares_images", False)]
        if counts > 1 and comparing:
            self.runner.logger.warning(
                f"{type(comparing[0]).__name__} compares the images of a batch, and with "
                f"optim_wrapper.accumulative_counts={counts} it sees those of a micro-batch "
                f"({self.dataloader.batch_size} on each rank), not of the optimiser step. For the "
                f"loss of the whole batch set accumulative_counts=1, "
                f"train_dataloader.batch_size={self.dataloader.batch_size * counts} and "
                f"model.micro_batch={self.dataloader.batch_size}."
            )

    def _share_seed(self) -> None:
        """Sets the sampler to the run's seed, which a checkpoint may have changed since."""
        seed = torch.tensor(self.runner.seed)
        broadcast(seed)
        if hasattr(self.dataloader.sampler, "seed"):
            self.dataloader.sampler.seed = int(seed)
