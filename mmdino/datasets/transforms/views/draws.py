"""Random numbers drawn in batches."""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np

BATCH = 128


class BatchedDraws:
    """The draws of :class:`numpy.random.Generator` that views need, at a third of its cost.

    A call of a generator takes longer than the draw itself, so numbers are drawn ``BATCH`` at a
    time. The values differ from those of the generator's own methods.

    Args:
        rng: Source of the numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._numbers: list[float] = []

    def random(self) -> float:
        """Draws a number from [0, 1)."""
        if not self._numbers:
            self._numbers = self._rng.random(BATCH).tolist()
        return self._numbers.pop()

    def integers(self, high: int) -> int:
        """Draws an integer from 0 to ``high - 1``."""
        return int(high * self.random())

    def permutation(self, n: int) -> tuple[int, ...]:
        """Draws a permutation of 0 to ``n - 1``, for small n."""
        orders = _orders(n)
        return orders[self.integers(len(orders))]


@cache
def _orders(n: int) -> tuple[tuple[int, ...], ...]:
    return tuple(permutations(range(n)))
