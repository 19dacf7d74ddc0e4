"""Chooses a threshold by copies made on purpose."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmdino.curation.embedding import embed
from mmdino.curation.near_duplicates import NEIGHBOURS, NearPairs, pairs_above
from mmdino.curation.options import ORIGINALS, PRECISION
from mmdino.curation.pictures import DROPPED, KEPT, Tile, draw_curves, draw_strips
from mmdino.curation.planting import (
    ALTERATIONS,
    Planting,
    measure,
    plant,
    planted_before,
    planted_set,
    suggest,
)
from mmdino.curation.report import write_page, write_report
from mmdino.curation.search import build_index
from mmdino.curation.steps.deduplicate import pair_sections
from mmdino.datasets.image_folder import EXTENSIONS
from mmdino.evaluation.bank_extraction import Evaluated
from mmdino.evaluation.bank_images import all_images
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import BANK as FINISHED
from mmdino.evaluation.feature_bank import PLAN as UNFINISHED
from mmdino.evaluation.stored_input import FROM_FILE
from mmdino.utils.command_line import require_outside, require_writable
from mmdino.utils.numbers import require_number
from mmdino.utils.printable import printable

THRESHOLDS = 1 - np.geomspace(0.7, 1e-4, 90)
"""Dense near 1, where untrained networks have all similarities."""

PLANTED, BANK = "planted", "bank"


def calibrate(
    evaluated: Evaluated,
    folder: str | Path,
    output: str | Path,
    options: ExtractionOptions,
    command: str,
    originals: int = ORIGINALS,
    least_precision: float = PRECISION,
    seed: int = 0,
) -> dict[str, Any]:
    """Plants one altered copy of each of some images, and measures what thresholds find of them.

    Copies of the same images, and their features, that are there from before are used again.

    Writes to ``output``: the images with their copies, their features, ``report.json``, and
    ``report.html`` with pictures.

    Args:
        evaluated: The network.
        folder: The images; the originals are drawn of them.
        output: Folder to write to.
        options: How the features are computed.
        command: The command, for the report.
        originals: Images to plant a copy of, at most as many as there are.
        least_precision: Fraction of the dropped images that must be copies.
        seed: Seed of the draw and of the crops.

    Returns:
        The numbers of the report.

    Raises:
        ValueError: If an option is out of range, the network does not take images of 8 bits, no
            image can be read, or the output would lie among the images or cannot be written.
    """
    require_number("Curation", "images", originals, least=len(ALTERATIONS), whole=True)
    require_number("Curation", "precision", least_precision, above=0, most=1)
    _require_eight_bits(evaluated)
    require_outside(output, folder)
    require_writable(output, "output folder", "Give another.")
    output = Path(output)
    images = all_images(folder, options, image_input=evaluated.image_input)
    paths = [Path(images.get_data_info(index)["img_path"]) for index in range(len(images))]
    if len(paths) < originals:
        print(f"{originals} originals are lowered to {len(paths)}: there are {len(paths)}.")
        originals = len(paths)
    drawn = np.random.default_rng(seed).permutation(len(paths))
    drawn[:originals].sort()  # those after them are for images that cannot be read
    planting = _plant([paths[index] for index in drawn], output, originals, seed)
    options = replace(options, every=1)
    # Copies have the extensions of their formats, not those of the run's images.
    image_input = replace(evaluated.image_input, extensions=EXTENSIONS)
    evaluated = replace(evaluated, image_input=image_input)
    embedded = embed(evaluated, output / PLANTED, output / BANK, options, command)
    planted = planted_set(embedded.names)
    vectors = embedded.vectors()
    index = build_index(vectors, len(vectors), "exact")
    k = min(NEIGHBOURS, len(vectors) - 1)
    pairs, similarity, _ = pairs_above(index, vectors, k, float(THRESHOLDS[0]))
    found = [measure(planted, pairs, similarity, float(value)) for value in THRESHOLDS]
    suggested = suggest(found, least_precision)
    numbers = {
        "command": command,
        "originals": planting.originals,
        "unreadable": len(planting.unreadable),
        "least precision": least_precision,
        "suggested threshold": suggested and suggested.threshold,
        "at the suggested threshold": suggested and asdict(suggested),
        "thresholds": [asdict(at) for at in found],
        "features": embedded.bank.plan,
    }
    write_report(output, numbers)
    curves = {
        "precision": [at.precision for at in found],
        "recall": [at.recall for at in found],
        **{name: [at.by_alteration[name] for at in found] for name in found[0].by_alteration},
    }
    value = suggested and suggested.threshold
    title = f"{planting.originals} planted copies, {evaluated.checkpoint}, {evaluated.network}"
    draw_curves(output / "curves.png", title, THRESHOLDS, curves, value)
    pictures = {"curves.png": "What thresholds find of the planted copies"}
    if suggested is not None:
        near = NearPairs(suggested.threshold)
        near.add(pairs[:, 0], pairs[:, 1], similarity)

        def tiles(first: float, second: float) -> list[Tile]:
            rows = int(first), int(second)
            color = KEPT if planted.group[rows[0]] == planted.group[rows[1]] else DROPPED
            return [
                Tile(embedded.source / embedded.names[row], _kind(planted.alteration[row]), color)
                for row in rows
            ]

        draw_strips(
            output / "pairs.jpg",
            f"Pairs around {suggested.threshold:.4g}; green: a planted copy, red: other images "
            "(which may be real duplicates)",
            pair_sections(near, tiles),
        )
        pictures["pairs.jpg"] = "Pairs around the suggested threshold"
    write_page(output, "Calibration", numbers, pictures)
    return numbers


def _require_eight_bits(evaluated: Evaluated) -> None:
    """Checks that a network sees planted copies as it does their originals."""
    load = evaluated.image_input.load
    if (
        load["type"] != FROM_FILE
        or load.get("color_type") == "unchanged"
        or load.get("imdecode_backend") == "tifffile"
    ):
        raise ValueError(
            f"calibrate plants copies that are images of 8 bits, grey or in colour, and "
            f"{evaluated.checkpoint} takes others, which are read by {dict(load)}. Set --threshold "
            "of dedup by hand, by the pairs in its report."
        )


def _plant(images: Sequence[Path], output: Path, most: int, seed: int) -> Planting:
    """Plants copies, if those that are there are not the same, and says so."""
    folder, bank = output / PLANTED, output / BANK
    planting = planted_before(images, folder, most, seed)
    if planting is not None:
        print(f"{folder}: a copy of each of {planting.originals} images is there already")
        return planting
    print(f"{folder}: planting a copy of each of {most} images")
    # Names of planted images are always the same: their features would be taken for those of these.
    if (bank / FINISHED).is_file() or (bank / UNFINISHED).is_file():
        shutil.rmtree(bank)
    planting = plant(images, folder, most, seed)
    if planting.unreadable:
        print(
            f"{len(planting.unreadable)} image(s) cannot be read and are left out, such as "
            f"{printable(planting.unreadable[0])}; copies of {planting.originals} are planted"
        )
    return planting


def _kind(alteration: int) -> str:
    return "original" if alteration < 0 else list(ALTERATIONS)[alteration]
