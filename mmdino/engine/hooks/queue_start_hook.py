"""The start of the queue of features."""

from __future__ import annotations

import math
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.model_access import mark_met, modules_with
from mmdino.engine.progress import current_epoch
from mmdino.models.losses.feature_queue import FeatureQueue
from mmdino.registry import HOOKS
from mmdino.utils.numbers import require_number


@HOOKS.register_module()
class QueueStartHook(Hook):
    """Starts the queue of features of a loss, such as :class:`SwAVLoss`, after some epochs.

    Features change too fast in the beginning for those of earlier batches to be of use. From then
    on the queue is filled, and once it is full the loss uses it.

    Args:
        epochs: Number of epochs without the queue; 15 in the authors' recipe for batches of 256.

    Raises:
        ValueError: If the number is negative, or from the run if the queue's length is no multiple
            of the images of a micro-batch on all ranks.
        TypeError: From the run, if the model has no queue.

    Example:
        >>> default_hooks = dict(queue_start=dict(type="mmdino.QueueStartHook", epochs=15))
    """

    def __init__(self, epochs: int = 15) -> None:
        require_number("QueueStartHook", "epochs", epochs, least=0, whole=True)
        self.epochs = epochs
        self._queues: list[FeatureQueue] = []

    def before_train(self, runner: Runner) -> None:
        """Finds the queues and checks their lengths."""
        self._queues = modules_with(runner, "queue_started", self)
        for queue in self._queues:
            self._check_length(runner, queue.length)
        mark_met(runner, "queue")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Starts the queues, or leaves them for the epochs to come."""
        for queue in self._queues:
            queue.queue_started = current_epoch(runner) >= self.epochs

    def _check_length(self, runner: Runner, length: int) -> None:
        loader, ranks = runner.train_dataloader, get_world_size()
        images = loader.batch_size * ranks
        if length % images:
            nearest = math.ceil(length / images) * images
            raise ValueError(
                f"queue_length={length} is no multiple of the {images} images of a micro-batch on "
                f"{ranks} rank(s): part of the oldest one would stay. Set model.loss.queue_length "
                f"to a multiple, such as {nearest}, or change train_dataloader.batch_size."
            )
        first = self.epochs * len(loader) + length // images
        if first >= runner.max_iters:
            runner.logger.warning(
                f"The queue of {length} images is not used in this run: it is filled after "
                f"{self.epochs} epoch(s), so it is full after {first} iterations, and the run has "
                f"{runner.max_iters}. Lower the epochs of QueueStartHook, train longer, or set "
                "model.loss.queue_length=0 and leave out the hook."
            )
