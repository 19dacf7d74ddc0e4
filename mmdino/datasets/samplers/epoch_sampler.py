"""An order of the images that follows from seed and epoch, and can start in the middle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class EpochSampler(Sampler):
    """Shuffles anew each epoch, gives each draw a seed for its views, and can skip what was seen.

    With several ranks, rank r takes every W-th image of one order, so that the images of a step are
    those of a single process with the whole batch. The order is repeated from its start until it
    divides by the ranks, as mmengine's ``DefaultSampler`` does.

    Args:
        dataset: The data set.
        shuffle: Whether to shuffle.
        seed: Seed of the run, the same on all ranks. None draws one for all.

    Example:
        >>> sampler = dict(type="mmdino.EpochSampler", shuffle=True)
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.start = 0
        self.num_samples = math.ceil(len(dataset) / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order; mmengine's ``DistSamplerSeedHook`` calls it before each epoch."""
        self.epoch = epoch

    def set_start(self, start: int) -> None:
        """Lets the next pass leave out its first ``start`` images of this rank."""
        self.start = start

    def __iter__(self) -> Iterator[SeededIndex]:
        """Yields the indices of this rank."""
        size = len(self.dataset)
        if self.shuffle:
            generator = torch.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = torch.randperm(size, generator=generator)
        else:
            order = torch.arange(size)
        places = torch.arange(self.rank, self.num_samples * self.world_size, self.world_size)
        for index in order[places[self.start :] % size].tolist():
            yield SeededIndex(index, (self.seed, self.epoch, index))

    def __len__(self) -> int:
        """Returns the images of a whole epoch on this rank."""
        return self.num_samples
