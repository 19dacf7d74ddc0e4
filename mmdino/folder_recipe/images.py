"""What there is to know of images before a recipe is chosen for them."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.fileio import get

from mmdino.datasets.folder_listing import LeftOut, list_images
from mmdino.datasets.image_check import (
    ImageHeader,
    content_fault,
    dropped_bands,
    image_fault,
    image_header,
    read_header,
)
from mmdino.datasets.image_folder import (
    EXTENSIONS,
    LOADING_ERRORS,
    TIFF,
    ImageFolder,
    Unreadable,
    evenly_spaced,
)
from mmdino.datasets.image_table import CSV, PARQUET, is_table
from mmdino.datasets.readers.reading import Reading
from mmdino.datasets.tar_backend import PREFIX
from mmdino.datasets.tar_shards import TarShards
from mmdino.evaluation.embedding import has_shards, shards_in
from mmdino.folder_recipe.read_images import ReadImages, read_images
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
    unreadable: tuple[Unreadable, ...]
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
    def usable(self) -> list[str]:
        """Names of the images, without those that were found unreadable."""
        unreadable = {image.path for image in self.unreadable}
        return [name for name in self.names if name not in unreadable]

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
    path = Path(path)
    found = _find(path, reading)
    if reading is None:
        seen = _look_at_sample(found)
    else:
        seen = read_images(evenly(found.names, MAX_DECODED), found.root, reading)
    if not seen.headers:
        raise _none_readable(seen.unreadable, found.names, path, reading)
    source = dict(found.source)
    if reading is not None and reading.extensions is not None:
        source["extensions"] = list(reading.extensions)
    return FolderFacts(
        root=found.root,
        names=tuple(found.names),
        headers=seen.headers,
        unreadable=seen.unreadable,
        decoded=min(len(found.names), MAX_DECODED),
        left_out=found.left_out,
        source=source,
        reading=reading,
        mean=seen.mean,
        std=seen.std,
    )


class _Found(NamedTuple):
    """Where images are, with the fields of :class:`FolderFacts`."""

    root: str
    names: Sequence[str]
    source: Mapping[str, Any] = MappingProxyType({})
    left_out: str = ""


def _find(path: Path, reading: Reading | None) -> _Found:
    """Finds the images of a folder, of tar shards or of a list.

    Raises:
        FileNotFoundError: If there is no such folder or file, or no image in it.
        OSError: If it cannot be read.
        ValueError: If a list or shard is invalid.
    """
    extensions = (reading and reading.extensions) or EXTENSIONS
    found = _in_folder(path, extensions) if path.is_dir() else None
    if not (found and found.names):
        if has_shards(path, extensions):
            found = _in_shards(path, extensions)
        elif path.is_file():
            root = str(path.resolve().parent)
            found = _Found(root, _listed(path, root), {"list": str(path.resolve())})
    if found is None:
        what = "is no folder and no file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"The image folder {printable(path)!r} {what}.")
    if not found.names:
        raise FileNotFoundError(
            f"No image in {printable(found.root)!r}: expected files at any depth with one of the "
            f"extensions {', '.join(sorted(extensions))}."
            f"{f' {found.left_out}.' if found.left_out else ''}{_advice(found.root, reading)}"
        )
    return found


def _in_folder(path: Path, extensions: Sequence[str]) -> _Found:
    left_out = LeftOut()
    root = str(path.resolve())
    names = list_images(root, extensions, left_out)
    return _Found(root, names, left_out=str(left_out) if left_out.counts else "")


def _in_shards(path: Path, extensions: Sequence[str]) -> _Found:
    folder, shards = shards_in(path)
    root = str(folder.resolve())
    dataset = TarShards(shards, root, pipeline=[], extensions=extensions)
    names = [info["img_path"] for info in map(dataset.get_data_info, range(len(dataset)))]
    return _Found(root, names, {"type": "mmdino.TarShards", "shards": shards})


def _look_at_sample(found: _Found) -> ReadImages:
    """Reads the headers of some images, and of these decodes some."""
    chosen = evenly(found.names, MAX_HEADERS)
    to_decode = set(evenly(chosen, MAX_DECODED))
    headers, unreadable = [], []
    for name in chosen:
        seen = _look_at(name, found.root, decode=name in to_decode)
        if isinstance(seen, ImageHeader):
            headers.append(seen)
        else:
            unreadable.append(Unreadable(name, seen))
    return ReadImages(tuple(headers), tuple(unreadable))


def _none_readable(
    unreadable: Sequence[Unreadable], names: Sequence[str], path: Path, reading: Reading | None
) -> ValueError:
    """Returns the error of images none of which can be read, of those that were looked at."""
    advice = ""
    if reading is None and all(name.lower().endswith(TIFF) for name in names):
        advice = " TIFFs of other bands than colours, or of floats, need --reader mmdino.read_tiff."
    return ValueError(
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
    try:
        with open(path, "rb") if is_local else io.BytesIO(content) as file:
            if dropped := dropped_bands(file):
                return dropped
    except LOADING_ERRORS:
        # A damaged TIFF, of which the decoder tells.
        pass
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


def _first(unreadable: Sequence[Unreadable]) -> str:
    more = ", ..." if len(unreadable) > MAX_NAMED else ""
    return ", ".join(map(str, unreadable[:MAX_NAMED])) + more
