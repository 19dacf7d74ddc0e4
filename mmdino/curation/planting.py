"""Near-duplicates made on purpose, to measure what a threshold finds."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mmdino.curation.near_duplicates import components_of, keep_one
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable
from mmdino.visualization.media import read_image

Alteration = Callable[[Image.Image, np.random.Generator], bytes]
STAMP = ".planted.json"
"""File beside planted images that says of what they were made; hidden, as it is no image."""
PLANTED_NAME = re.compile(rf"(original|copy)_\d+\.|\.?{re.escape(STAMP)}")


def _png(image: Image.Image) -> bytes:
    return _encoded(image, "PNG", compress_level=1)


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _crop(side: float) -> Alteration:
    """Returns a crop at a random place, of a fraction of both sides."""

    def crop(image: Image.Image, rng: np.random.Generator) -> bytes:
        size = [max(1, round(side * length)) for length in image.size]
        left, top = (
            int(rng.integers(whole - part + 1))
            for whole, part in zip(image.size, size, strict=True)
        )
        return _png(image.crop((left, top, left + size[0], top + size[1])))

    return crop


def _jpeg(quality: int) -> Alteration:
    return lambda image, rng: _encoded(image, "JPEG", quality=quality)


def _resize(factor: float) -> Alteration:
    return lambda image, rng: _png(
        image.resize([max(1, round(factor * side)) for side in image.size])
    )


ALTERATIONS: dict[str, Alteration] = {
    "crop 90 %": _crop(0.9),
    "crop 70 %": _crop(0.7),
    "JPEG quality 50": _jpeg(50),
    "JPEG quality 10": _jpeg(10),
    "flip": lambda image, rng: _png(ImageOps.mirror(image)),
    "resize 75 %": _resize(0.75),
    "resize 50 %": _resize(0.5),
}
"""Copies as they occur on the web. Crops are of a fraction of either side."""


@dataclass(frozen=True)
class Planted:
    """A set with copies in it.

    Args:
        group: Number (N,) of the original of each image; its copy has the same.
        alteration: How (N,) it was made, an index of :data:`ALTERATIONS`; -1 for an original.
    """

    group: np.ndarray
    alteration: np.ndarray


@dataclass(frozen=True)
class Planting:
    """What :func:`plant` wrote.

    Args:
        names: Names of the files: all originals, then all copies.
        tried: Path, size and time of change of each image that was read.
        unreadable: Paths of those that could not be read.
    """

    names: list[str]
    tried: list[list]
    unreadable: list[str]

    @property
    def originals(self) -> int:
        """Number of originals."""
        return len(self.names) // 2


def plant(images: Sequence[Path], folder: Path, most: int, seed: int = 0) -> Planting:
    """Writes originals and one altered copy of each, the alterations in turn.

    Args:
        images: The originals, which are copied; one that cannot be read is left out.
        folder: Where to write; what was planted there before is removed.
        most: Number of originals, where there are as many that can be read.
        seed: Seed of the crops.

    Raises:
        ValueError: If no image can be read, or the folder has other files.
    """
    _clear(folder)
    folder.mkdir(parents=True)
    originals, copies, tried, unreadable = [], [], [], []
    for path in images:
        number = len(originals)
        if number == most:
            break
        tried.append(_state(path))
        try:
            content = list(ALTERATIONS.values())[number % len(ALTERATIONS)](
                Image.fromarray(read_image(path)), np.random.default_rng((seed, number))
            )
        except (OSError, ValueError):  # the latter of images that are damaged
            unreadable.append(str(path))
            continue
        original = f"original_{number:06d}{path.suffix.lower()}"
        suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
        copy = f"copy_{number:06d}{suffix}"
        shutil.copyfile(path, folder / original)
        (folder / copy).write_bytes(content)
        originals.append(original)
        copies.append(copy)
    if not originals:
        raise ValueError(
            f"None of the {len(unreadable)} image(s) can be read, such as "
            f"{printable(unreadable[0])}. Give others."
        )
    planting = Planting([*originals, *copies], tried, unreadable)
    # Written last: a folder that has it is complete.
    with atomic_write(folder / STAMP) as partial:
        partial.write_text(json.dumps({**_settings(most, seed), **asdict(planting)}))
    return planting


def planted_before(
    images: Sequence[Path], folder: Path, most: int, seed: int = 0
) -> Planting | None:
    """Returns what is planted in a folder, if :func:`plant` would write the same.

    Args:
        images: As :func:`plant` takes them.
        folder: The folder.
        most: Number of originals.
        seed: Seed of the crops.
    """
    try:
        record = json.loads((folder / STAMP).read_text())
    except (OSError, ValueError):
        return None
    settings = _settings(most, seed)
    if {name: record.pop(name, None) for name in settings} != settings:
        return None
    planting = Planting(**record)
    count = len(planting.tried)
    is_all = planting.originals == most or count == len(images)
    same = is_all and planting.tried == [_state(path) for path in images[:count]]
    return planting if same else None


def _settings(most: int, seed: int) -> dict[str, Any]:
    """Returns what planted files depend on beside the images, as JSON values."""
    return {"most": most, "seed": seed, "alterations": list(ALTERATIONS)}


def _state(path: Path) -> list:
    """Returns the path, the size and the time of change of a file, as JSON values."""
    try:
        status = path.stat()
    except OSError:
        return [os.path.realpath(path), None, None]
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns]


def _clear(folder: Path) -> None:
    """Removes what was planted in a folder."""
    if not folder.exists():
        return
    strange = [path.name for path in folder.iterdir() if not PLANTED_NAME.match(path.name)]
    if strange:
        raise ValueError(
            f"{printable(folder)} holds files that were not planted, such as "
            f"{printable(strange[0])}. Give another output."
        )
    (folder / STAMP).unlink(missing_ok=True)  # first: from here on the folder is not complete
    shutil.rmtree(folder)


def planted_set(names: Sequence[str]) -> Planted:
    """Tells from the names of :func:`plant` what each image is."""
    group = np.array([int(name.split("_")[1].split(".")[0]) for name in names])
    is_copy = np.array([name.startswith("copy_") for name in names])
    return Planted(group, np.where(is_copy, group % len(ALTERATIONS), -1))


@dataclass(frozen=True)
class Found:
    """What a threshold finds of planted copies.

    Args:
        threshold: The threshold.
        dropped: Images that are dropped.
        precision: Fraction of them for which their own original or copy is kept; nan if none is
            dropped.
        recall: Fraction of the copies that are dropped, or whose original is dropped for them.
        by_alteration: The recall of each alteration, by name.
    """

    threshold: float
    dropped: int
    precision: float
    recall: float
    by_alteration: dict[str, float]


def measure(planted: Planted, pairs: np.ndarray, similarity: np.ndarray, threshold: float) -> Found:
    """Measures what is dropped at a threshold.

    Args:
        planted: The set of N images.
        pairs: Pairs (E, 2) of at least some lower similarity.
        similarity: Their similarities (E,).
        threshold: The threshold.
    """
    count = len(planted.group)
    kept_for = keep_one(components_of(pairs[similarity > threshold], count))
    dropped = np.flatnonzero(kept_for != np.arange(count))
    right = dropped[planted.group[kept_for[dropped]] == planted.group[dropped]]
    alteration = np.full(planted.group.max() + 1, -1)
    copies = planted.alteration >= 0
    alteration[planted.group[copies]] = planted.alteration[copies]
    made = np.bincount(alteration[alteration >= 0], minlength=len(ALTERATIONS))
    caught = np.bincount(alteration[planted.group[right]], minlength=len(ALTERATIONS))
    return Found(
        threshold=threshold,
        dropped=len(dropped),
        precision=len(right) / len(dropped) if len(dropped) else float("nan"),
        recall=len(right) / int(made.sum()),
        by_alteration={
            name: float(caught[i] / made[i]) for i, name in enumerate(ALTERATIONS) if made[i]
        },
    )


def suggest(found: Sequence[Found], precision: float) -> Found | None:
    """Returns the lowest threshold from which on the precision is reached; None if it is never.

    Args:
        found: Measurements in ascending order of the threshold.
        precision: The precision to reach.
    """
    suggested = None
    for measured in reversed(found):
        if measured.dropped and measured.precision < precision:
            break
        if measured.dropped:
            suggested = measured
    return suggested
