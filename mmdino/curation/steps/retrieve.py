"""Retrieves images that resemble seed images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmdino.curation.embedding import Embedded, check_comparable, take
from mmdino.curation.pictures import KEPT, NEUTRAL, Section, Strip, Tile, draw_strips
from mmdino.curation.report import LIST, write_page, write_report
from mmdino.curation.retrieval import (
    AT_MOST,
    MIN_SEEDS,
    PER_CLUSTER,
    PER_SEED,
    retrieve_clusters,
    retrieve_nearest,
)
from mmdino.curation.search import Kind, build_index
from mmdino.datasets.image_list import write_image_list
from mmdino.utils.command_line import require_outside, require_writable
from mmdino.utils.numbers import require_number

SHOWN = 16
WIDE = 10


def retrieve(
    embedded: Embedded,
    seeds: Embedded,
    output: str | Path,
    command: str,
    per_seed: int = PER_SEED,
    clusters: int | None = None,
    min_seeds: int = MIN_SEEDS,
    per_cluster: int = PER_CLUSTER,
    at_most: int = AT_MOST,
    listed: str | None = None,
    search: Kind = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Takes the nearest images of each seed, or images of the clusters that hold seeds.

    Writes to ``output``: ``images.txt``, ``report.json``, and ``report.html`` with pictures.

    Args:
        embedded: The set.
        seeds: The seed images.
        output: Folder to write to.
        command: The command, for the report.
        per_seed: Nearest images of each seed.
        clusters: Number of clusters; None takes the nearest images.
        min_seeds: Seeds that a cluster must hold.
        per_cluster: Images of a cluster at most.
        at_most: Images of all clusters at most.
        listed: List of the images to consider, all if None.
        search: How neighbours are searched.
        seed: Seed of an approximate search, of the clusters and of the draws.

    Returns:
        The numbers of the report.

    Raises:
        ValueError: If an option is out of range, the features cannot be compared, or the output
            would lie among the images or cannot be written.
    """
    for name, value in (
        ("per_seed", per_seed),
        ("min_seeds", min_seeds),
        ("per_cluster", per_cluster),
        ("at_most", at_most),
    ):
        require_number("Curation", name, value, least=1, whole=True)
    require_outside(output, embedded.source, seeds.source)
    require_writable(output, "output folder", "Give another.")
    check_comparable(embedded, seeds)
    rows = embedded.rows(listed)
    vectors, of_seeds = embedded.vectors(rows), seeds.vectors()
    numbers = {
        "command": command,
        "images": len(embedded.names),
        "considered": len(rows),
        "seed images": len(of_seeds),
    }

    def tile(position: int, caption: str = "") -> Tile:
        name = embedded.names[rows[position]]
        return Tile(embedded.source / name, caption or name, KEPT)

    def seed_tile(position: int) -> Tile:
        name = seeds.names[seeds.readable[position]]
        return Tile(seeds.source / name, "seed", NEUTRAL)

    rng = np.random.default_rng(seed)
    if clusters is None:
        index = build_index(vectors, len(of_seeds), search, seed)
        found = retrieve_nearest(index, of_seeds, per_seed)
        numbers |= {"per seed": per_seed, **_quantiles(found.similarity), **index.describe()}
        chosen = np.sort(rng.permutation(len(of_seeds))[:SHOWN])
        strips = [
            Strip(
                f"{seeds.names[seeds.readable[s]]} and its nearest images",
                [
                    seed_tile(s),
                    *(
                        tile(row, f"{similarity:.4f}")
                        for row, similarity in zip(
                            found.neighbours[s], found.similarity[s], strict=True
                        )
                        if row >= 0
                    ),
                ],
            )
            for s in chosen
        ]
        section = Section(f"{len(strips)} seeds drawn at random (grey), retrieved (green)", strips)
    else:
        found = retrieve_clusters(
            vectors, of_seeds, clusters, min_seeds, per_cluster, at_most, seed
        )
        numbers |= {
            "clusters": clusters,
            "clusters taken": len(found.taken),
            "least seeds of a cluster": min_seeds,
            "per cluster at most": per_cluster,
            "in all at most": at_most,
        }
        strips = []
        for cluster in np.sort(rng.permutation(found.taken)[:SHOWN]):
            members = found.rows[found.clusters[found.rows] == cluster]
            held = np.flatnonzero(found.seed_clusters == cluster)
            tiles = [*map(seed_tile, held[:3]), *map(tile, rng.permutation(members)[:6])]
            strips.append(Strip(f"cluster with {len(held)} seeds: {len(members)} images", tiles))
        section = Section(f"{len(strips)} clusters: seeds (grey), retrieved (green)", strips)
    kept = rows[found.rows]
    numbers |= {"kept": len(kept), "source": str(embedded.source), "seeds": str(seeds.source)}
    numbers["features"] = embedded.bank.plan
    output = Path(output)
    write_image_list(output / LIST, take(embedded.names, kept))
    write_report(output, numbers)
    draw_strips(output / "retrieved.jpg", "Retrieved for seed images", [section], WIDE)
    write_page(output, "Retrieval", numbers, {"retrieved.jpg": "Seeds and what was retrieved"})
    return numbers


def _quantiles(similarity: np.ndarray) -> dict[str, float]:
    """Returns quantiles of the similarity of seeds and what was retrieved."""
    values = np.quantile(similarity, (0.05, 0.5, 0.95)).round(4).tolist()
    return {
        f"similarity, {name}": value
        for name, value in zip(("5 % quantile", "median", "95 % quantile"), values, strict=True)
    }
