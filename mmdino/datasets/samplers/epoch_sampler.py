"""A sampler whose order depends only on seed and epoch, and that can start mid-epoch."""

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
    """Shuffles per epoch, yields indices with a seed for their views, and can resume mid-epoch.

    Rank r of W takes every W-th image of one common order, so the images of a step are those of a
    single process with the total batch size. The order is padded from its start to a multiple of W,
    as in mmengine's ``DefaultSampler``.

    Args:
        dataset: The data set.
        shuffle: Whether to shuffle.
        seed: Seed of the run, the same on all ranks; if None, one is drawn and synchronised.

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
        """Sets the epoch; mmengine's ``DistSamplerSeedHook`` calls it before each epoch."""
        self.epoch = epoch

    def set_start(self, start: int) -> None:
        """Sets the number of images of this rank that iteration skips."""
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
        positions = torch.arange(self.rank, self.num_samples * self.world_size, self.world_size)
        for index in order[positions[self.start :] % size].tolist():
            yield SeededIndex(index, (self.seed, self.epoch, index))

    def __len__(self) -> int:
        """Returns the number of images per epoch on this rank, including skipped ones."""
        return self.num_samples
