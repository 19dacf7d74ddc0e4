"""Where a loss is evaluated around the weights of networks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Where the loss is evaluated, the same for all networks.

    Attributes:
        points: Points along a direction; an odd number, so that the middle one is the network.
        span: Largest step to either side, in norms of the weights.
        lines: Number of further directions, each evaluated alone.
        plane: Whether the plane of the first two directions is evaluated.
        seed: Seed of the directions.
        batch_norm: ``"reestimated"`` or ``"stored"`` statistics at each point.
    """

    points: int = 11
    span: float = 1.0
    lines: int = 5
    plane: bool = True
    seed: int = 0
    batch_norm: str = "reestimated"

    @property
    def steps(self) -> list[float]:
        """The steps along a direction."""
        return np.linspace(-self.span, self.span, self.points).tolist()

    def coordinates(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Returns the seeds of the directions, and the indices of the steps, of all points."""
        found = []
        if self.plane:
            pairs = product(range(self.points), repeat=2)
            found += [((self.seed, self.seed + 1), pair) for pair in pairs]
        for line in range(self.lines):
            found += [((self.seed + 2 + line,), (index,)) for index in range(self.points)]
        return found
