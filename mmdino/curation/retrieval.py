"""Images of a large set that resemble seed images.

After the DINOv2 paper (Oquab et al. 2023, appendix A), which takes the nearest images of each seed
image where there are many, and whole clusters where there are few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdino.curation.clusters import assign, draw, train_clusters
from mmdino.curation.search import Index, neighbours
from mmdino.curation.vectors import Vectors

PER_SEED = 4
MIN_SEEDS, PER_CLUSTER, AT_MOST = 4, 10_000, 1_000_000
"""The paper takes clusters that hold more than 3 seed images, up to 10,000 images of each and
1 million a seed set, of 100,000 clusters of 744 million images."""


@dataclass(frozen=True)
class Retrieved:
    """Images that resemble seeds.

    Args:
        rows: Rows, ascending, each once.
        similarity: Similarities (S, k) of the neighbours of each seed.
        neighbours: Their rows (S, k); -1 where an approximate search found fewer.
    """

    rows: np.ndarray
    similarity: np.ndarray
    neighbours: np.ndarray


def retrieve_nearest(index: Index, seeds: Vectors, k: int = PER_SEED) -> Retrieved:
    """Takes the ``k`` nearest images of each seed.

    Raises:
        ValueError: If there are fewer than ``k`` images.
    """
    if not 1 <= k <= len(index):
        raise ValueError(
            f"There are {len(index)} images, of which the {k} nearest cannot be taken. Set "
            f"--per-seed from 1 to {len(index)}."
        )
    found = list(neighbours(index, seeds, k))
    similarity = np.concatenate([similarities for _, similarities, _ in found])
    rows = np.concatenate([rows for _, _, rows in found])
    return Retrieved(np.unique(rows[rows >= 0]), similarity, rows)


@dataclass(frozen=True)
class RetrievedClusters:
    """Images of the clusters that hold seeds.

    Args:
        rows: Rows, ascending.
        clusters: Cluster (N,) of each image.
        seed_clusters: Cluster (S,) of each seed.
        taken: Clusters that were drawn from.
    """

    rows: np.ndarray
    clusters: np.ndarray
    seed_clusters: np.ndarray
    taken: np.ndarray


def retrieve_clusters(
    vectors: Vectors,
    seeds: Vectors,
    clusters: int,
    min_seeds: int = MIN_SEEDS,
    per_cluster: int = PER_CLUSTER,
    at_most: int = AT_MOST,
    seed: int = 0,
) -> RetrievedClusters:
    """Takes images of each cluster that holds enough seeds.

    Args:
        vectors: The images.
        seeds: The seed images.
        clusters: Number of clusters of the images.
        min_seeds: Seeds that a cluster must hold.
        per_cluster: Images to draw of a cluster at most.
        at_most: Images to draw in all at most.
        seed: Seed of the clusters and the draws.

    Raises:
        ValueError: If no cluster holds enough seeds, or there are fewer images than clusters.
    """
    centres = train_clusters(vectors, clusters, seed)
    of_images, of_seeds = assign(vectors, centres), assign(seeds, centres)
    held = np.bincount(of_seeds, minlength=clusters)
    taken = np.flatnonzero((held >= min_seeds) & (np.bincount(of_images, minlength=clusters) > 0))
    if not len(taken):
        raise ValueError(
            f"No cluster with images holds {min_seeds} of the {len(seeds)} seed images; at most "
            f"{held.max()} are in one. Lower --min-seeds or --clusters, or leave out --clusters to "
            "take the nearest images of each seed."
        )
    draws = np.zeros(clusters, dtype=np.int64)
    draws[taken] = np.minimum(np.bincount(of_images, minlength=clusters)[taken], per_cluster)
    rows = draw(of_images, draws, seed)
    if len(rows) > at_most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, at_most, replace=False))
    return RetrievedClusters(rows, of_images, of_seeds, taken)
