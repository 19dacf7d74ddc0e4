"""Nearest neighbours by cosine similarity, exact or approximate, with faiss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np

from mmdino.curation.vectors import Vectors
from mmdino.utils.dependencies import import_optional
from mmdino.utils.progress import Progress

Kind = Literal["auto", "exact", "approximate"]
KINDS = ("auto", "exact", "approximate")
EXACT_PRODUCTS = 1e13
"""Multiplications above which "auto" is approximate; about six minutes on two cores."""

MIN_PER_CELL = 39
"""Training vectors a cell that faiss asks for; it warns below."""
TRAIN_PER_CELL = MIN_PER_CELL
PROBES = 16
ITERATIONS = 6


class Index(Protocol):
    """Vectors to be searched."""

    def __len__(self) -> int:
        """Returns the number of vectors."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns similarities (M, k), descending, and rows (M, k); -1 where there are fewer."""

    def describe(self) -> dict[str, Any]:
        """Returns what a report says of it, as JSON values."""


def import_faiss() -> ModuleType:
    """Imports faiss, which only curation needs.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    return import_optional("faiss", "curation", "curate")


@dataclass(frozen=True)
class ExactIndex:
    """Compares with all vectors, which stay in their file."""

    vectors: Vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns similarities (M, k), descending, and rows (M, k)."""
        faiss = import_faiss()
        heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        for start, block in self.vectors.blocks():
            similarities, rows = faiss.knn(
                queries, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT
            )
            heap.add_result(similarities, rows + start)
        heap.finalize()
        return heap.D, heap.I

    def describe(self) -> dict[str, Any]:
        """Returns what a report says of it."""
        return {"search": "exact"}


class CellIndex:
    """Compares with the vectors of the nearest cells of a k-means clustering alone.

    Similarities are exact; some neighbours may be missed. Copies of one image are mostly in one
    cell. It holds the vectors in memory, in float32.

    Args:
        vectors: The vectors.
        seed: Seed of the sample that the cells are trained on.
        probes: Cells that are compared; more find more and take longer.
    """

    def __init__(self, vectors: Vectors, seed: int = 0, probes: int = PROBES) -> None:
        faiss = import_faiss()
        count = len(vectors)
        self.cells = max(1, min(round(4 * count**0.5), count // MIN_PER_CELL))
        self.probes = min(probes, self.cells)
        quantizer = faiss.IndexFlatIP(vectors.width)
        self._index = faiss.IndexIVFFlat(
            quantizer, vectors.width, self.cells, faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.spherical = True
        self._index.cp.niter = ITERATIONS
        self._index.cp.seed = seed
        size = min(count, TRAIN_PER_CELL * self.cells)
        sample = np.sort(np.random.default_rng(seed).choice(count, size, replace=False))
        print(f"  index: {self.cells} cells, trained on {size} of {count} images", flush=True)
        self._index.train(vectors[sample])
        progress = Progress("index", count)
        for start, block in vectors.blocks():
            self._index.add(block)
            progress.at(start + len(block))
        self._index.nprobe = self.probes

    def __len__(self) -> int:
        return self._index.ntotal

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns similarities (M, k), descending, and rows (M, k); -1 where fewer are found."""
        return self._index.search(queries, k)

    def describe(self) -> dict[str, Any]:
        """Returns what a report says of it."""
        return {"search": "approximate", "cells": self.cells, "probes": self.probes}


def build_index(vectors: Vectors, queries: int, kind: Kind = "auto", seed: int = 0) -> Index:
    """Builds the index of vectors.

    Args:
        vectors: What is searched.
        queries: Number of searches.
        kind: ``"auto"`` is exact as long as that takes at most some minutes.
        seed: Seed of an approximate one.
    """
    import_faiss()
    if kind == "auto":
        products = len(vectors) * vectors.width * queries
        kind = "exact" if products <= EXACT_PRODUCTS else "approximate"
    return ExactIndex(vectors) if kind == "exact" else CellIndex(vectors, seed)


def neighbours(
    index: Index, queries: Vectors, k: int, what: str = "search"
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Searches block by block.

    Yields:
        The first query of the block, similarities (M, k) and rows (M, k) of the index.
    """
    progress = Progress(what, len(queries))
    for start, block in queries.blocks():
        similarities, rows = index.search(block, k)
        yield start, np.clip(similarities, -1, 1), rows
        progress.at(start + len(block))


@dataclass(frozen=True)
class Recall:
    """What an approximate search finds of what an exact one finds.

    Args:
        neighbours: Fraction of the k nearest neighbours.
        above: Fraction of those above a threshold; None if there are none.
        queries: Number of queries that were compared.
    """

    neighbours: float
    above: float | None
    queries: int


def measure_recall(
    index: Index, vectors: Vectors, k: int, threshold: float, sample: int = 500, seed: int = 0
) -> Recall:
    """Compares an index with an exact search, for some of its own vectors.

    Args:
        index: The index of ``vectors``.
        vectors: What is searched.
        k: Neighbours, the query itself not counted.
        threshold: Cosine similarity for :attr:`Recall.above`.
        sample: Number of queries.
        seed: Seed of the sample.
    """
    size = min(sample, len(vectors))
    chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), size, replace=False))
    block, k = vectors[chosen], min(k + 1, len(vectors))
    similarities, true = ExactIndex(vectors).search(block, k)
    found = index.search(block, k)[1]
    others = true != chosen[:, None]
    hit = np.stack([np.isin(*rows) for rows in zip(true, found, strict=True)])
    above = others & (similarities > threshold)
    return Recall(
        neighbours=float(hit[others].mean()),
        above=float(hit[above].mean()) if above.any() else None,
        queries=size,
    )
