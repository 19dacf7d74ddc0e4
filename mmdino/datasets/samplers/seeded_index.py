"""A data set index that carries the seed of its draw."""

from __future__ import annotations


class SeededIndex(int):
    """An index into a data set that also says how to seed the random views of that draw.

    It travels from the sampler through the data set into the pipeline as
    ``results["sample_idx"]``. The seed depends on the run, the epoch and the image only, so views
    are the same whatever the number of workers or ranks, and after a resume.

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
