"""Unit vectors, read from a file block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BLOCK = 16_384


@dataclass(frozen=True)
class Vectors:
    """Rows of an array in a file, divided by their length when they are read.

    A vector of zeros stays one; its similarity to all others is 0.

    Args:
        source: What ``source[rows]`` reads features (M, D) from, for a slice or indices.
        width: Width D.
        rows: Rows (N,) that count, ascending.
    """

    source: Any
    width: int
    rows: np.ndarray

    def __len__(self) -> int:
        """Returns the number N of vectors."""
        return len(self.rows)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        """Returns vectors (M, D), float32, as a copy."""
        rows = self.rows[which]
        if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
            rows = slice(int(rows[0]), int(rows[-1]) + 1)  # much faster than indices
        vectors = np.array(self.source[rows], dtype=np.float32, order="C")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # Lengths of float16 features may be tiny, but not their reciprocal's overflow.
        vectors /= np.maximum(lengths, np.finfo(np.float32).tiny)
        return vectors

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the start and the vectors of each block."""
        for start in range(0, len(self), size):
            yield start, self[start : start + size]
