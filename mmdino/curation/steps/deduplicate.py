"""Drops near-duplicates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mmdino.curation.embedding import Embedded, check_comparable, take
from mmdino.curation.near_duplicates import (
    BINS,
    NEIGHBOURS,
    Components,
    EvaluationHits,
    NearPairs,
    check_threshold,
    drop_components,
    find_components,
    find_evaluation_images,
    keep_one,
)
from mmdino.curation.pictures import (
    DROPPED,
    KEPT,
    NEUTRAL,
    Section,
    Strip,
    Tile,
    draw_histogram,
    draw_strips,
)
from mmdino.curation.report import LIST, REPORT, write_lines, write_page, write_report
from mmdino.curation.search import Kind, build_index, measure_recall
from mmdino.datasets.image_list import write_image_list
from mmdino.evaluation.embedding import SHARD
from mmdino.evaluation.feature_bank import COMPARED
from mmdino.utils.command_line import require_outside, require_writable
from mmdino.utils.numbers import require_number
from mmdino.utils.printable import printable

Keep = Literal["first", "largest"]
SAMPLED = 12
"""Groups of duplicates of each kind in the picture."""


class Threshold(NamedTuple):
    """A threshold of cosine similarity and where it comes from."""

    value: float
    source: str


def calibrated_threshold(folder: str | Path, embedded: Embedded) -> Threshold:
    """Reads the threshold that a calibration suggests.

    Args:
        folder: Folder that the calibration wrote.
        embedded: Features that it is meant for.

    Raises:
        FileNotFoundError: If the folder has no report.
        ValueError: If the report suggests none, or is of another network.
    """
    path = Path(folder) / REPORT
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no {REPORT} of a calibration. Make one with: mmdino curate "
            f"calibrate CHECKPOINT IMAGE_FOLDER {folder}"
        )
    record = json.loads(path.read_text())
    if "features" not in record or record.get("suggested threshold") is None:
        raise ValueError(f"{path} suggests no threshold. Look at its curves and set --threshold.")
    plan = embedded.bank.plan
    different = [name for name in COMPARED if record["features"].get(name) != plan.get(name)]
    if different:
        raise ValueError(
            f"{path} was calibrated for other features than {embedded.bank.folder}: different "
            f"{', '.join(different)}. Calibrate with the same checkpoint and options."
        )
    return Threshold(
        record["suggested threshold"],
        f"calibrated in {folder}: the lowest with precision {record['least precision']:.3g} on "
        f"{record['originals']} planted copies",
    )


@dataclass(frozen=True)
class _Decision:
    """What became of each image of the set, by its position among the rows that count."""

    rows: np.ndarray
    kept_for: np.ndarray
    dropped_for: dict[str, np.ndarray]
    """Whether each is dropped, by reason."""

    @property
    def kept(self) -> np.ndarray:
        """Whether each stays."""
        return ~np.any(list(self.dropped_for.values()), axis=0)


DUPLICATE, EVALUATION = "near-duplicate", "evaluation image"
"""Reasons to drop an image."""


def deduplicate(
    embedded: Embedded,
    output: str | Path,
    threshold: Threshold,
    command: str,
    neighbours: int = NEIGHBOURS,
    evaluation: Sequence[Embedded] = (),
    evaluation_threshold: Threshold | None = None,
    keep: Keep = "first",
    listed: str | None = None,
    search: Kind = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Keeps one image of each group of near-duplicates, and none of evaluation images.

    Writes to ``output``: ``images.txt`` of what is kept, ``dropped.jsonl``, ``report.json``, and
    ``report.html`` with pictures.

    Args:
        embedded: The set.
        output: Folder to write to.
        threshold: Similarity above which two images are near-duplicates.
        command: The command, for the report.
        neighbours: Neighbours of each image that are compared with it.
        evaluation: Features of evaluation sets.
        evaluation_threshold: Similarity above which an image, and all that it is joined with, is
            dropped for an evaluation image; that of the set if None.
        keep: Which one of a group stays: the first in the order of names, or the largest file.
        listed: List of the images to consider, all if None.
        search: How neighbours are searched.
        seed: Seed of an approximate search.

    Returns:
        The numbers of the report.

    Raises:
        ValueError: If an option is out of range, the features cannot be compared, the images
            of which the largest is to be kept are in tar shards, or the output would lie among the
            images or cannot be written.
    """
    against = evaluation_threshold or threshold
    check_threshold("threshold", threshold.value)
    check_threshold("evaluation threshold", against.value)
    require_number("Curation", "neighbours", neighbours, least=1, whole=True)
    require_outside(output, embedded.source, *(other.source for other in evaluation))
    require_writable(output, "output folder", "Give another.")
    for other in evaluation:
        check_comparable(embedded, other)
    rows = embedded.rows(listed)
    if keep == "largest":
        _require_files(embedded, rows)
    vectors = embedded.vectors(rows)
    if neighbours >= len(rows) > 1:
        print(f"{neighbours} neighbours are lowered to {len(rows) - 1}: there are {len(rows)}.")
        neighbours = len(rows) - 1
    index = build_index(vectors, len(vectors), search, seed)
    components = find_components(index, vectors, neighbours, threshold.value)
    found = index.describe()
    if found["search"] == "approximate":
        found["recall"] = asdict(measure_recall(index, vectors, neighbours, threshold.value))
    del index  # it may hold all vectors
    hits = _evaluation_hits(vectors, evaluation, against.value, search, seed)
    decision = _decide(embedded, rows, components, hits, keep)
    kept = rows[decision.kept]
    if not len(kept):
        raise ValueError(
            f"All {len(rows)} images would be dropped. Raise the threshold of {threshold.value:g} "
            f"or that for evaluation sets, {against.value:g}."
        )
    numbers = {
        "command": command,
        "images": len(embedded.names),
        "unreadable": len(embedded.unreadable),
        "considered": len(rows),
        "kept": len(kept),
        **{f"dropped: {reason}": int(which.sum()) for reason, which in _reasons(decision)},
        "threshold": threshold.value,
        "source of the threshold": threshold.source,
        "evaluation threshold": against.value if evaluation else None,
        "source of the evaluation threshold": against.source if evaluation else None,
        "neighbours": neighbours,
        "pairs above the threshold": components.edges,
        "kept of each group": keep,
        "group sizes": _group_sizes(components.labels),
        "search": found,
        "source": str(embedded.source),
        "features": embedded.bank.plan,
        "nearest image": {
            "edges": BINS.round(4).tolist(),
            "counts": components.histogram.tolist(),
        },
    }
    output = Path(output)
    write_lines(output / "dropped.jsonl", _dropped(embedded, decision, vectors, evaluation, hits))
    write_image_list(output / LIST, take(embedded.names, kept))
    write_report(output, numbers)
    pictures = _draw(output, embedded, components, decision, evaluation, hits)
    write_page(output, "Near-duplicates", numbers, pictures)
    return numbers


def _evaluation_hits(
    vectors: Any, evaluation: Sequence[Embedded], threshold: float, search: Kind, seed: int
) -> list[EvaluationHits]:
    hits = []
    for other in evaluation:
        index = build_index(other.vectors(), len(vectors), search, seed)
        hits.append(find_evaluation_images(index, vectors, threshold))
    return hits


def _require_files(embedded: Embedded, rows: np.ndarray) -> None:
    """Checks that images are files of their own, not members of tar shards."""
    path = embedded.source / embedded.names[rows[0]]
    for parent in path.parents:
        if parent.suffix.lower() == SHARD and not parent.is_dir():
            raise ValueError(
                f"The images of {embedded.bank.folder} are in tar shards, such as "
                f"{printable(parent.name)}: there are no files whose sizes could be compared. "
                "Leave out --keep largest."
            )


def _decide(
    embedded: Embedded,
    rows: np.ndarray,
    components: Components,
    hits: Sequence[EvaluationHits],
    keep: Keep,
) -> _Decision:
    preference = None
    if keep == "largest":
        preference = np.zeros(len(rows), dtype=np.int64)
        sizes, missing = np.bincount(components.labels), []
        for position in np.flatnonzero(sizes[components.labels] > 1):
            name = embedded.names[rows[position]]
            try:
                preference[position] = (embedded.source / name).stat().st_size
            except OSError:
                preference[position] = -1
                missing.append(name)
        if missing:
            print(
                f"{len(missing)} image(s) of groups are no longer in {printable(embedded.source)}, "
                f"and another one is kept where there is one: {printable(missing[0])}"
                + (", ..." if len(missing) > 1 else "")
            )
    kept_for = keep_one(components.labels, preference)
    near_evaluation = drop_components(components.labels, [hit.hit for hit in hits])
    duplicate = (kept_for != np.arange(len(rows))) & ~near_evaluation
    return _Decision(rows, kept_for, {DUPLICATE: duplicate, EVALUATION: near_evaluation})


def _reasons(decision: _Decision) -> list[tuple[str, np.ndarray]]:
    return list(decision.dropped_for.items())


def _group_sizes(labels: np.ndarray) -> dict[str, int]:
    """Counts the groups of two and more by their size."""
    sizes, counts = np.unique(np.bincount(labels), return_counts=True)
    return {str(s): int(c) for s, c in zip(sizes, counts, strict=True) if s > 1}


def _dropped(
    embedded: Embedded,
    decision: _Decision,
    vectors: Any,
    evaluation: Sequence[Embedded],
    hits: Sequence[EvaluationHits],
) -> list[dict[str, Any]]:
    """Says of each dropped image why, and what stays for it."""
    name = [embedded.names[row] for row in decision.rows]
    records = []
    duplicates = np.flatnonzero(decision.dropped_for[DUPLICATE])
    for start in range(0, len(duplicates), 4096):
        block = duplicates[start : start + 4096]
        kept, unique = np.unique(decision.kept_for[block], return_inverse=True)
        similarity = (vectors[block] * vectors[kept][unique]).sum(1)
        for position, value in zip(block, similarity, strict=True):
            records.append(
                {
                    "image": name[position],
                    "reason": DUPLICATE,
                    "kept": name[decision.kept_for[position]],
                    "similarity": round(float(value), 4),
                }
            )
    for position in np.flatnonzero(decision.dropped_for[EVALUATION]):
        record = {
            "image": name[position],
            "reason": "joined with a near-duplicate of an evaluation image",
        }
        for other, hit in zip(evaluation, hits, strict=True):
            if hit.hit[position]:
                record["reason"] = "near-duplicate of an evaluation image"
                record["evaluation image"] = other.names[other.readable[hit.nearest[position]]]
                record["evaluation set"] = str(other.source)
                record["similarity"] = round(float(hit.similarity[position]), 4)
        records.append(record)
    missing = (
        {"image": name, "reason": f"unreadable: {reason}"}
        for name, reason in embedded.unreadable.items()
    )
    return [*records, *missing]


def _draw(
    output: Path,
    embedded: Embedded,
    components: Components,
    decision: _Decision,
    evaluation: Sequence[Embedded],
    hits: Sequence[EvaluationHits],
) -> dict[str, str]:
    """Draws the pictures; returns their captions by name."""

    def tile(position: int) -> Tile:
        name = embedded.names[decision.rows[position]]
        color = KEPT if decision.kept[position] else DROPPED
        return Tile(embedded.source / name, name, color)

    threshold = components.pairs.threshold
    draw_histogram(
        output / "similarities.png",
        f"{len(decision.rows)} images",
        BINS,
        components.histogram,
        threshold,
    )
    draw_strips(
        output / "pairs.jpg",
        f"Pairs around the threshold of {threshold:.4g}; green stays, red is dropped",
        pair_sections(
            components.pairs, lambda first, second: (tile(int(first)), tile(int(second)))
        ),
    )
    draw_strips(
        output / "groups.jpg",
        "Groups of near-duplicates; green stays, red is dropped",
        _group_sections(components.labels, decision, tile),
    )
    pictures = {
        "pairs.jpg": "Pairs around the threshold",
        "groups.jpg": "Groups of near-duplicates",
        "similarities.png": "Similarity of each image to the nearest other one",
    }
    for number, (other, hit) in enumerate(zip(evaluation, hits, strict=True)):

        def with_evaluation(first: float, second: float, of: Embedded = other) -> tuple[Tile, Tile]:
            name = of.names[of.readable[int(second)]]
            return tile(int(first)), Tile(of.source / name, name, NEUTRAL)

        draw_strips(
            output / f"evaluation_{number}.jpg",
            f"Images and the nearest one of {other.source}, around {hit.threshold:.4g}; "
            "red is dropped, grey the evaluation image",
            pair_sections(hit.pairs, with_evaluation),
        )
        pictures[f"evaluation_{number}.jpg"] = f"Nearest images of {other.source}"
    return pictures


def pair_sections(pairs: NearPairs, tiles: Any) -> list[Section]:
    """Returns the sections of a picture of pairs in descending order of similarity.

    Args:
        pairs: The pairs.
        tiles: Makes the two tiles of a pair.
    """
    sections = []
    for title, color, rows in (
        ("above the threshold: near-duplicates", DROPPED, pairs.above),
        ("below the threshold: not joined", KEPT, pairs.below),
    ):
        ordered = rows[np.argsort(-rows[:, 2], kind="stable")]
        strips = [Strip(f"{s:.4f}", tiles(first, second)) for first, second, s in ordered]
        sections.append(Section(title, strips, color))
    return sections


def _group_sections(labels: np.ndarray, decision: _Decision, tile: Any) -> list[Section]:
    sizes = np.bincount(labels)
    groups = np.flatnonzero(sizes > 1)
    largest = groups[np.argsort(-sizes[groups], kind="stable")][: SAMPLED // 2]
    others = np.setdiff1d(groups, largest)
    drawn = np.random.default_rng(0).permutation(others)[: 2 * SAMPLED]
    drawn = drawn[np.argsort(-sizes[drawn], kind="stable")]

    def strip(group: int) -> Strip:
        members = np.flatnonzero(labels == group)
        kept = decision.kept_for[members[0]]
        ordered = [kept, *members[members != kept]]
        heading = f"{len(members)} images"
        if decision.dropped_for[EVALUATION][members[0]]:
            heading += ", near an evaluation image"
        return Strip(heading, [tile(int(member)) for member in ordered[:8]])

    return [
        Section("the largest groups, up to 8 images of each", [strip(g) for g in largest], DROPPED),
        Section("some others, drawn at random", [strip(g) for g in drawn], DROPPED),
    ]
