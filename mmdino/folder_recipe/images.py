"""What there is to know of images before a recipe is chosen for them."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any

import cv2
import numpy as np
from mmengine.fileio import get

from mmdino.datasets.folder_listing import LeftOut, list_images
from mmdino.datasets.image_check import (
    ImageHeader,
    content_fault,
    image_fault,
    image_header,
    read_header,
)
from mmdino.datasets.image_folder import (
    EXTENSIONS,
    LOADING_ERRORS,
    TIFF,
    ImageFolder,
    evenly_spaced,
)
from mmdino.datasets.image_table import CSV, PARQUET, is_table
from mmdino.datasets.readers.reading import Reading
from mmdino.datasets.tar_backend import PREFIX
from mmdino.datasets.tar_shards import TarShards
from mmdino.evaluation.embedding import has_shards, shards_in
from mmdino.folder_recipe.reading import read_images
from mmdino.utils.printable import printable
from mmdino.visualization.media import VIDEO_SUFFIXES

MAX_HEADERS = 2000
"""Images of which the header is read; of a larger folder, as many spread evenly over the names."""
MAX_DECODED = 100
"""Of those, how many are decoded, which takes a tenth of a second for a large photograph."""
MAX_NAMED = 3
LISTS = (".txt", ".lst", ".list")
"""Suffixes of lists of one path a line."""

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "images"}
"""Names of folders that are parts of a data set, not classes."""
MAX_CLASSES = 1000
MIN_IMAGES_OF_CLASS = 10
"""With fewer, neighbours of the same class are too few to count."""


@dataclass(frozen=True)
class FolderFacts:
    """A folder, list or shards of images, as far as they were looked at."""

    root: str
    """Absolute path of the folder; of a list or of shards, that which paths are relative to."""
    names: tuple[str, ...]
    """Names of all images, relative to ``root``, in the order of the data set; of images in shards,
    their addresses."""
    headers: tuple[ImageHeader, ...]
    """Headers of the images that were looked at and could be read."""
    unreadable: tuple[str, ...]
    """Names and reasons of those that could not."""
    decoded: int
    """How many were decoded."""
    left_out: str
    """Description of the files that are no images; empty if there are none."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """What the data set needs beside ``root``: ``list``, or ``type`` and ``shards``, and
    ``extensions``."""
    reading: Reading | None = None
    """How they are read, if a function does it."""
    mean: tuple[float, ...] = ()
    """Mean of each channel, 0 to 255, of those that were decoded, if a function reads them."""
    std: tuple[float, ...] = ()
    """Standard deviation of each, likewise."""

    @property
    def where(self) -> str:
        """Path of what was looked at."""
        return self.source.get("list") or os.path.join(self.root, self.source.get("shards", ""))

    @property
    def looked_at(self) -> int:
        """Number of images that were looked at."""
        return len(self.headers) + len(self.unreadable)

    @property
    def count(self) -> int:
        """Number of images, less the share that cannot be read."""
        return round(len(self.names) * len(self.headers) / self.looked_at)

    @property
    def unreadable_count(self) -> int:
        """Number of images that cannot be read, estimated from those that were looked at."""
        return len(self.names) - self.count

    @property
    def short_side(self) -> int:
        """Median of the shorter sides, in pixels."""
        return median_low(min(header.width, header.height) for header in self.headers)

    @property
    def megapixels(self) -> float:
        """Median of the sizes."""
        return median_low(header.width * header.height for header in self.headers) / 1e6

    def describe(self) -> str:
        """Returns what was found in a line, with a second one for what cannot be read."""
        sides = [min(header.width, header.height) for header in self.headers]
        whole = "all" if self.looked_at == len(self.names) else "spread over the names"
        text = (
            f"{printable(self.where)}: {len(self.names):,} images. Looked at {self.looked_at:,} "
            f"({whole}; {self.decoded} decoded): shorter side {min(sides)} to {max(sides)} pixels, "
            f"median {self.short_side}; {_shares(h.channels for h in self.headers)} channel(s), "
            f"{_shares(h.bits for h in self.headers)} bits; {len(self.unreadable)} unreadable."
        )
        if self.unreadable:
            text += f"\nUnreadable: {_first(self.unreadable)}. They are skipped."
        if self.left_out:
            text += f"\n{self.left_out}."
        return text


def look_at_images(path: str | Path, reading: Reading | None = None) -> FolderFacts:
    """Looks at the images below a folder, in a list or in tar shards, or at a sample of many.

    Args:
        path: A folder; a list of paths relative to its own folder (text, CSV, Parquet); or tar
            shards, as their folder or as a pattern of :class:`TarShards`.
        reading: How its images are read; None for usual ones.

    Raises:
        FileNotFoundError: If there is no such folder or file, or no image in it.
        OSError: If it cannot be read.
        TypeError: If the function that reads them has no such argument, or images do not fit it.
        ValueError: If a list or shard is invalid, there is no such function, or no image of those
            that were looked at can be read.
    """
    path, left_out = Path(path), LeftOut()
    extensions = (reading and reading.extensions) or EXTENSIONS
    names: Sequence[str] = ()
    source: dict[str, Any] = {}
    if path.is_dir():
        root = str(path.resolve())
        names = list_images(root, extensions, left_out)
    if not names and has_shards(path):
        folder, shards = shards_in(path)
        root = str(folder.resolve())
        source = {"type": "mmdino.TarShards", "shards": shards}
        dataset = TarShards(shards, root, pipeline=[], extensions=extensions)
        names = [info["img_path"] for info in map(dataset.get_data_info, range(len(dataset)))]
    elif path.is_file():
        root, source = str(path.resolve().parent), {"list": str(path.resolve())}
        names = _listed(path, root)
    elif not path.is_dir():
        what = "is no folder and no file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"The image folder {printable(path)!r} {what}.")
    said = str(left_out) if left_out.counts and not source else ""
    if not names:
        raise FileNotFoundError(
            f"No image in {printable(root)!r}: expected files at any depth with one of the "
            f"extensions {', '.join(sorted(extensions))}.{f' {said}.' if said else ''}"
            f"{_advice(root, reading)}"
        )
    if reading is not None:
        chosen = evenly(names, MAX_DECODED)
        found = read_images(chosen, root, reading)
        _require_some(found.headers, found.unreadable, names, path, reading)
        if reading.extensions is not None:
            source["extensions"] = list(reading.extensions)
        return FolderFacts(
            root=root,
            names=tuple(names),
            headers=found.headers,
            unreadable=found.unreadable,
            decoded=len(chosen),
            left_out=said,
            source=source,
            reading=reading,
            mean=found.mean,
            std=found.std,
        )
    chosen = evenly(names, MAX_HEADERS)
    to_decode = set(evenly(chosen, MAX_DECODED))
    headers, unreadable = [], []
    for name in chosen:
        found = _look_at(name, root, decode=name in to_decode)
        if isinstance(found, ImageHeader):
            headers.append(found)
        else:
            unreadable.append(f"{printable(name)} {found}")
    _require_some(headers, unreadable, names, path)
    return FolderFacts(
        root=root,
        names=tuple(names),
        headers=tuple(headers),
        unreadable=tuple(unreadable),
        decoded=len(to_decode),
        left_out=said,
        source=source,
    )


def _require_some(
    headers: Sequence[ImageHeader],
    unreadable: Sequence[str],
    names: Sequence[str],
    path: Path,
    reading: Reading | None = None,
) -> None:
    """Checks that one of the images that were looked at can be read.

    Raises:
        ValueError: If none can.
    """
    if headers:
        return
    advice = ""
    if reading is None and all(name.lower().endswith(TIFF) for name in names):
        advice = " TIFFs with more than four bands, or floats, need --reader mmdino.read_tiff."
    raise ValueError(
        f"None of the {len(unreadable):,} images of {printable(path)!r} that were looked at (of "
        f"{len(names):,}) can be read: {_first(unreadable)}.{advice}"
    )


def _listed(path: Path, root: str) -> list[str]:
    """Returns the names in a list.

    Raises:
        FileNotFoundError: If one is missing.
        ValueError: If the file is no list.
    """
    if path.suffix.lower() not in LISTS and not is_table(path):
        raise ValueError(
            f"{printable(path)!r} is no folder of images, and no list of them ({', '.join(LISTS)}, "
            f"{', '.join((*CSV, *PARQUET))}) or tar file: give one of these."
        )
    dataset = ImageFolder(root, list=str(path), pipeline=[])
    paths = (info["img_path"] for info in map(dataset.get_data_info, range(len(dataset))))
    return [os.path.relpath(image, root) for image in paths]


def classes_of(names: Sequence[str]) -> dict[str, list[str]] | None:
    """Returns the images of each class, if the folders of the first level look like classes.

    They do if every image is in one, there are 2 to ``MAX_CLASSES``, each has at least
    ``MIN_IMAGES_OF_CLASS`` images, and none has a name such as "train" or "val".

    Args:
        names: Names of images relative to the folder.
    """
    classes: dict[str, list[str]] = {}
    for name in names:
        top, separator, _ = name.partition(os.sep)
        if not separator or top.lower() in SPLITS:
            return None
        classes.setdefault(top, []).append(name)
    right = 2 <= len(classes) <= MAX_CLASSES
    if not right or min(map(len, classes.values())) < MIN_IMAGES_OF_CLASS:
        return None
    return classes


def evenly(items: Sequence[str], most: int) -> list[str]:
    """Returns at most so many items, spread evenly, in their order."""
    return [items[index] for index in evenly_spaced(len(items), min(len(items), most))]


def _advice(root: str, reading: Reading | None) -> str:
    """Says what to do with a folder that has no images but other files, else nothing."""
    if reading is not None and reading.extensions is None:
        return " Name those of the files for the reader with --extensions."
    if not list_images(root, VIDEO_SUFFIXES, LeftOut()):
        return ""
    return " Training takes images: save frames, as by ffmpeg -i CLIP -r 1 frames/%05d.jpg."


def _look_at(name: str, root: str, decode: bool) -> ImageHeader | str:
    """Returns the header of an image, or why it cannot be read, such as "is empty"."""
    content = get(name) if name.startswith(f"{PREFIX}://") else None
    path = os.path.join(root, name)
    is_local = content is None
    fault = image_fault(path) if is_local else content_fault(io.BytesIO(content), len(content))
    if fault:
        return fault
    if not decode:
        try:
            return image_header(path) if is_local else read_header(io.BytesIO(content))
        except LOADING_ERRORS:
            # Of a format that OpenCV knows and Pillow does not, or none.
            pass
    try:
        data = np.fromfile(path, np.uint8) if is_local else np.frombuffer(content, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except LOADING_ERRORS:
        image = None
    if image is None:
        return "is damaged, or no image"
    channels = image.shape[2] if image.ndim == 3 else 1
    return ImageHeader(image.shape[1], image.shape[0], channels, 8 * image.itemsize)


def _shares(values: Sequence[int]) -> str:
    """Returns values with their share, the most frequent first; a value alone has none."""
    counts = Counter(values).most_common()
    total = sum(count for _, count in counts)
    if len(counts) == 1:
        return str(counts[0][0])
    return " and ".join(f"{value} ({count / total:.0%})" for value, count in counts)


def _first(lines: Sequence[str]) -> str:
    return ", ".join(lines[:MAX_NAMED]) + (", ..." if len(lines) > MAX_NAMED else "")
