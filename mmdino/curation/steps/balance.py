"""Draws as many images of each cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmdino.curation.clusters import assign, balanced_draws, draw, train_clusters
from mmdino.curation.embedding import Embedded, take
from mmdino.curation.pictures import KEPT, Section, Strip, Tile, draw_strips
from mmdino.curation.report import LIST, write_page, write_report
from mmdino.datasets.image_list import write_image_list
from mmdino.utils.command_line import require_outside, require_writable
from mmdino.utils.numbers import require_number

SHOWN = 5
WIDE = 9


def balance(
    embedded: Embedded,
    output: str | Path,
    clusters: int,
    images: int,
    command: str,
    listed: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Draws images so that clusters are represented as equally as their sizes allow.

    Writes to ``output``: ``images.txt``, ``report.json``, and ``report.html`` with pictures.

    Args:
        embedded: The set.
        output: Folder to write to.
        clusters: Number of clusters.
        images: Images to draw, without repetition.
        command: The command, for the report.
        listed: List of the images to consider, all if None.
        seed: Seed of the clusters and the draws.

    Returns:
        The numbers of the report.

    Raises:
        ValueError: If there are fewer images than clusters or than are to be drawn, or the output
            would lie among the images or cannot be written.
    """
    require_number("Curation", "clusters", clusters, least=1, whole=True)
    require_number("Curation", "images", images, least=1, whole=True)
    require_outside(output, embedded.source)
    require_writable(output, "output folder", "Give another.")
    rows = embedded.rows(listed)
    vectors = embedded.vectors(rows)
    if images > len(rows):
        balanced_draws(np.array([len(rows)]), images)  # before minutes of clustering
    of_images = assign(vectors, train_clusters(vectors, clusters, seed))
    sizes = np.bincount(of_images, minlength=clusters)
    draws = balanced_draws(sizes, images)
    drawn = draw(of_images, draws, seed)
    numbers = {
        "command": command,
        "images": len(embedded.names),
        "considered": len(rows),
        "clusters": clusters,
        "kept": len(drawn),
        "clusters smaller than their share": int((sizes < draws.max()).sum()),
        "images of a cluster": _spread(sizes),
        "drawn of a cluster": _spread(draws),
        "source": str(embedded.source),
        "features": embedded.bank.plan,
    }
    output = Path(output)
    write_image_list(output / LIST, take(embedded.names, rows[drawn]))
    write_report(output, numbers)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    rng = np.random.default_rng(seed)

    def strip(cluster: int) -> Strip:
        members = rng.permutation(drawn[of_images[drawn] == cluster])[:WIDE]
        names = take(embedded.names, rows[members])
        return Strip(
            f"cluster of {sizes[cluster]}, {draws[cluster]} drawn",
            [Tile(embedded.source / name, name, KEPT) for name in names],
        )

    middle = max(0, len(order) // 2 - SHOWN // 2)
    sections = [
        Section(title, [strip(cluster) for cluster in chosen if draws[cluster]], KEPT)
        for title, chosen in (
            ("the largest clusters", order[:SHOWN]),
            ("clusters of middle size", order[middle : middle + SHOWN]),
            ("the smallest clusters", order[-SHOWN:]),
        )
    ]
    title = f"{len(drawn)} of {len(rows)} images from {clusters} clusters: some that were drawn"
    draw_strips(output / "clusters.jpg", title, sections, WIDE)
    write_page(output, "Balanced draw", numbers, {"clusters.jpg": "What was drawn"})
    return numbers


def _spread(counts: np.ndarray) -> str:
    return f"{counts.min()} to {counts.max()}, median {np.median(counts):g}"
