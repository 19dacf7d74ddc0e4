"""The features of the images that a loss has seen last."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """Features of the last images of all ranks, those of each view by themselves, newest first.

    All ranks hold the same, so that rank 0's checkpoint is complete and a run can go on with
    another number of ranks. The images of a batch are in the order in which one process would see
    them, given a sampler that deals them out to the ranks in turn.

    Args:
        num_views: Number G of views.
        length: Number Q of images.
        width: Width D of a feature.

    Attributes:
        features: Buffer (G, Q, D).
        count: Buffer (), the number of images in the queue.
        queue_started: Whether the queue is filled and used. ``QueueStartHook`` sets it.
    """

    def __init__(self, num_views: int, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.queue_started = False
        self._num_images: int | None = None
        self.register_buffer("features", torch.zeros(num_views, length, width))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_load_state_dict_post_hook(_count_anew)

    def is_full(self) -> bool:
        """Returns whether there are as many images as the queue has places for."""
        # The host waits for the device once, and then counts too.
        if self._num_images is None:
            self._num_images = int(self.count)
        return self._num_images == self.length

    def part(self) -> Tensor:
        """Returns this rank's part (G, q, D) of a full queue; the parts of all ranks are all of it.

        Until the queue has been started and is full, the part has no images.
        """
        if not (self.queue_started and self.is_full()):
            return self.features[:, :0]
        return self.features.tensor_split(get_world_size(), dim=1)[get_rank()]

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Puts in the features (G, B, D) of this rank's images and those of the other ranks.

        The oldest ones leave. Before the queue has been started nothing happens.
        """
        if not self.queue_started:
            return
        newest = torch.stack(all_gather(features.contiguous()), dim=2).flatten(1, 2)
        self.features.copy_(torch.cat([newest, self.features], dim=1)[:, : self.length])
        self.count.add_(newest.shape[1]).clamp_(max=self.length)
        if self._num_images is not None:
            self._num_images = min(self._num_images + newest.shape[1], self.length)


def _count_anew(queue: FeatureQueue, _: Any) -> None:
    """Lets a queue look again how full it is, after a checkpoint has been loaded."""
    queue._num_images = None
