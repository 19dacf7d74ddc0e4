"""Near-duplicates within a set, and between a set and evaluation sets.

After the DINOv2 paper (Oquab et al. 2023, appendix A; dinov2 has no code of it): the 64 nearest
neighbours of each image by cosine similarity, an edge where it is above a threshold, connected
components, of each of which one image is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mmdino.curation.search import Index, neighbours
from mmdino.curation.vectors import Vectors
from mmdino.utils.numbers import require_number

NEIGHBOURS = 64
EVALUATION_THRESHOLD = 0.45
"""The paper's, for its copy-detection embedding."""

BINS = np.linspace(-1, 1, 201)
"""Edges of the histogram of the similarity to the nearest image."""
SHOWN = 24
"""Pairs above and below the threshold that are kept for the report."""


@dataclass
class NearPairs:
    """The pairs nearest to a threshold, on either side of it.

    Args:
        threshold: The threshold.
        shown: How many pairs to keep on each side.
    """

    threshold: float
    shown: int = SHOWN
    above: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    below: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    """Rows (M, 3) of first, second and similarity, nearest to the threshold first."""

    def add(self, first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> None:
        """Takes pairs (M,) into account."""
        pairs = np.stack([first, second, similarity], axis=1).astype(np.float64)
        over = similarity > self.threshold
        self.above = self._nearest(self.above, pairs[over])
        self.below = self._nearest(self.below, pairs[~over])

    def _nearest(self, kept: np.ndarray, new: np.ndarray) -> np.ndarray:
        most = 2 * self.shown  # A pair may come twice, from both sides.
        if len(new) > most:
            distance = np.abs(new[:, 2] - self.threshold)
            new = new[np.argpartition(distance, most - 1)[:most]]
        pairs = np.concatenate([kept, new])
        _, unique = np.unique(pairs[:, :2], axis=0, return_index=True)
        pairs = pairs[unique]
        order = np.argsort(np.abs(pairs[:, 2] - self.threshold), kind="stable")
        return pairs[order[: self.shown]]


@dataclass(frozen=True)
class Components:
    """Images joined by similarity.

    Args:
        labels: Component (N,) of each image; a number below N.
        edges: Number of pairs above the threshold.
        pairs: Those nearest to it.
        histogram: Counts (200,) of the similarity to the nearest other image, by :data:`BINS`.
    """

    labels: np.ndarray
    edges: int
    pairs: NearPairs
    histogram: np.ndarray


def check_threshold(name: str, value: float) -> None:
    """Checks a threshold of cosine similarity.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is outside of (-1, 1].
    """
    advice = "It is a cosine similarity; mmdino curate calibrate suggests one."
    require_number("Curation", name, value, above=-1, most=1, advice=advice)


def pairs_above(
    index: Index, vectors: Vectors, k: int, threshold: float, near: NearPairs | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the pairs of images of a set that are more similar than a threshold.

    Args:
        index: Index of the vectors.
        vectors: The vectors (N, D).
        k: Neighbours of each image that are looked at, itself not counted.
        threshold: The threshold.
        near: Collects pairs near its own threshold.

    Returns:
        Pairs (E, 2) int32, the smaller row first and each once, their similarities (E,), and the
        similarity (N,) of each image to its nearest other one.
    """
    pairs, similarities = [np.empty((0, 2), np.int32)], [np.empty(0, np.float32)]
    nearest = np.full(len(vectors), -1, dtype=np.float32)
    for start, found, rows in neighbours(index, vectors, min(k + 1, len(index))):
        queries = np.arange(start, start + len(rows))[:, None]
        others = (rows >= 0) & (rows != queries)
        nearest[start : start + len(rows)] = np.where(others, found, -1).max(1)
        first, second = np.minimum(queries, rows)[others], np.maximum(queries, rows)[others]
        similarity = found[others]
        if near is not None:
            near.add(first, second, similarity)
        over = similarity > threshold
        pairs.append(np.stack([first[over], second[over]], axis=1).astype(np.int32))
        similarities.append(similarity[over])
    joined = np.concatenate(pairs)
    # Most pairs are found from both sides. One number a pair sorts faster than two.
    keys = joined[:, 0].astype(np.int64) * len(vectors) + joined[:, 1]
    _, unique = np.unique(keys, return_index=True)
    return joined[unique], np.concatenate(similarities)[unique], nearest


def components_of(pairs: np.ndarray, count: int) -> np.ndarray:
    """Returns the connected component (N,) of each of ``count`` images, joined by pairs (E, 2)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), dtype=bool)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def find_components(index: Index, vectors: Vectors, k: int, threshold: float) -> Components:
    """Joins near-duplicates.

    Args:
        index: Index of the vectors.
        vectors: The vectors (N, D).
        k: Neighbours of each image that are looked at.
        threshold: Cosine similarity above which two images are joined.
    """
    near = NearPairs(threshold)
    pairs, _, nearest = pairs_above(index, vectors, k, threshold, near)
    labels = components_of(pairs, len(vectors))
    return Components(labels, len(pairs), near, np.histogram(nearest, BINS)[0])


def keep_one(labels: np.ndarray, preference: np.ndarray | None = None) -> np.ndarray:
    """Chooses an image of each component.

    Args:
        labels: Component (N,) of each image.
        preference: Number (N,) of each image; the largest is kept, the first of equal ones. None
            keeps the first.

    Returns:
        For each image (N,) the row of the one that stays for it; its own if it stays.
    """
    order = np.arange(len(labels))
    if preference is not None:
        order = np.lexsort((order, -preference))
    kept = np.empty(labels.max() + 1, dtype=np.int64)
    kept[labels[order[::-1]]] = order[::-1]  # the first in this order is written last
    return kept[labels]


@dataclass(frozen=True)
class EvaluationHits:
    """Images that are near-duplicates of evaluation images.

    Args:
        nearest: Row (N,) of the most similar evaluation image.
        similarity: Its similarity (N,).
        threshold: Above it is a hit.
        pairs: Those nearest to the threshold: row of the set, row of the evaluation set.
    """

    nearest: np.ndarray
    similarity: np.ndarray
    threshold: float
    pairs: NearPairs

    @property
    def hit(self) -> np.ndarray:
        """Whether (N,) an image is a near-duplicate of an evaluation image."""
        return self.similarity > self.threshold


def find_evaluation_images(index: Index, vectors: Vectors, threshold: float) -> EvaluationHits:
    """Compares a set with an evaluation set.

    Args:
        index: Index of the evaluation set.
        vectors: Vectors (N, D) of the set.
        threshold: Cosine similarity above which an image is a near-duplicate.
    """
    near = NearPairs(threshold)
    nearest = np.empty(len(vectors), dtype=np.int64)
    similarity = np.empty(len(vectors), dtype=np.float32)
    for start, found, rows in neighbours(index, vectors, 1, "evaluation set"):
        block = slice(start, start + len(rows))
        # An approximate search may find nothing, which has row -1 and no similarity.
        nearest[block], similarity[block] = rows[:, 0], np.where(rows[:, 0] < 0, -1, found[:, 0])
        some = rows[:, 0] >= 0
        near.add(np.arange(start, start + len(rows))[some], rows[some, 0], found[some, 0])
    return EvaluationHits(nearest, similarity, threshold, near)


def drop_components(labels: np.ndarray, hits: Sequence[np.ndarray]) -> np.ndarray:
    """Returns which images (N,) are in a component with a hit of any evaluation set.

    Args:
        labels: Component (N,) of each image.
        hits: Whether (N,) each image is a hit, for each evaluation set.
    """
    hit = np.zeros(labels.max() + 1, dtype=bool)
    for which in hits:
        hit[labels[which]] = True
    return hit[labels]
