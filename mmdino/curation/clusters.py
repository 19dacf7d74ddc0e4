"""K-means clusters of features, and draws that are balanced over them."""

from __future__ import annotations

import numpy as np

from mmdino.curation.search import import_faiss
from mmdino.curation.vectors import Vectors

POINTS_PER_CLUSTER = 256
"""Vectors a cluster that the centres are trained on; faiss's own limit."""
ITERATIONS = 10


def train_clusters(vectors: Vectors, count: int, seed: int = 0) -> np.ndarray:
    """Returns the centres (C, D) of spherical k-means on a sample of the vectors.

    Raises:
        ValueError: If there are fewer vectors than clusters.
    """
    if not 1 <= count <= len(vectors):
        raise ValueError(
            f"There are {len(vectors)} images, which cannot make {count} clusters. Set --clusters "
            f"from 1 to {len(vectors)}."
        )
    faiss = import_faiss()
    size = min(len(vectors), POINTS_PER_CLUSTER * count)
    sample = np.sort(np.random.default_rng(seed).choice(len(vectors), size, replace=False))
    kmeans = faiss.Kmeans(
        vectors.width,
        count,
        niter=ITERATIONS,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CLUSTER,
    )
    print(f"  k-means: {count} clusters, trained on {size} of {len(vectors)} images", flush=True)
    kmeans.train(vectors[sample])
    return kmeans.centroids


def assign(vectors: Vectors, centres: np.ndarray) -> np.ndarray:
    """Returns the most similar of the centres (C, D) to each vector (N,)."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(centres.shape[1])
    index.add(np.ascontiguousarray(centres))
    clusters = np.empty(len(vectors), dtype=np.int64)
    for start, block in vectors.blocks():
        clusters[start : start + len(block)] = index.search(block, 1)[1][:, 0]
    return clusters


def balanced_draws(sizes: np.ndarray, total: int) -> np.ndarray:
    """Returns how many images to draw of each cluster, as equal as their sizes allow.

    A cluster gives all it has up to a common limit; what is missing to the total comes, one each,
    from the first clusters that have more.

    Args:
        sizes: Images (C,) of each cluster.
        total: Images to draw.

    Raises:
        ValueError: If there are fewer images, or none is to be drawn.
    """
    if not 1 <= total <= sizes.sum():
        raise ValueError(
            f"{total} images cannot be drawn without repetition from {sizes.sum()}. Set --images "
            f"from 1 to {sizes.sum()}."
        )
    low, high = 0, int(sizes.max())
    while low < high:  # the largest limit that gives no more than the total
        limit = (low + high + 1) // 2
        low, high = (limit, high) if np.minimum(sizes, limit).sum() <= total else (low, limit - 1)
    draws = np.minimum(sizes, low)
    more = np.flatnonzero(sizes > low)[: total - draws.sum()]
    draws[more] += 1
    return draws


def draw(clusters: np.ndarray, draws: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draws images of each cluster without repetition.

    Args:
        clusters: Cluster (N,) of each image.
        draws: Images (C,) to draw of each, at most its size.
        seed: Seed of the draw.

    Returns:
        Rows, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(clusters))
    order = order[np.argsort(clusters[order], kind="stable")]
    sizes = np.bincount(clusters, minlength=len(draws))
    rank = np.arange(len(clusters)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < draws[clusters[order]]])
