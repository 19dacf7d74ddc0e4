"""A data set index with the seed of its augmentations."""

from __future__ import annotations


class SeededIndex(int):
    """An index into a data set with a seed for the random views of the sample.

    The sampler yields it, and the pipeline receives it as ``results["sample_idx"]``. The seed
    depends only on run, epoch and image, so views do not depend on the number of workers or ranks,
    or on a resume.

    Attributes:
        seed: Run seed, epoch and sample index.
    """

    seed: tuple[int, ...]

    def __new__(cls, index: int, seed: tuple[int, ...]) -> SeededIndex:
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.seed)
