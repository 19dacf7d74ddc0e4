"""What there is to know of a folder of images before a recipe is chosen for it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

import cv2
import numpy as np

from mmdino.datasets.folder_listing import LeftOut, list_images
from mmdino.datasets.image_check import ImageHeader, image_fault, image_header
from mmdino.datasets.image_folder import EXTENSIONS, LOADING_ERRORS, evenly_spaced
from mmdino.utils.printable import printable
from mmdino.visualization.media import VIDEO_SUFFIXES

MAX_HEADERS = 2000
"""Images of which the header is read; of a larger folder, as many spread evenly over the names."""
MAX_DECODED = 100
"""Of those, how many are decoded, which takes a tenth of a second for a large photograph."""
MAX_NAMED = 3
TAR = ".tar"

SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "images"}
"""Names of folders that are parts of a data set, not classes."""
MAX_CLASSES = 1000
MIN_IMAGES_OF_CLASS = 10
"""With fewer, neighbours of the same class are too few to count."""


@dataclass(frozen=True)
class FolderFacts:
    """A folder of images, as far as it was looked at."""

    root: str
    """Absolute path."""
    names: tuple[str, ...]
    """Names of all images, relative to ``root``, in ascending order."""
    headers: tuple[ImageHeader, ...]
    """Headers of the images that were looked at and could be read."""
    unreadable: tuple[str, ...]
    """Names and reasons of those that could not."""
    decoded: int
    """How many were decoded."""
    left_out: str
    """Description of the files that are no images; empty if there are none."""

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
            f"{printable(self.root)}: {len(self.names):,} images. Looked at {self.looked_at:,} "
            f"({whole}; {self.decoded} decoded): shorter side {min(sides)} to {max(sides)} pixels, "
            f"median {self.short_side}; {_shares(h.channels for h in self.headers)} channel(s), "
            f"{_shares(h.bits for h in self.headers)} bits; {len(self.unreadable)} unreadable."
        )
        if self.unreadable:
            text += f"\nUnreadable: {_first(self.unreadable)}. They are skipped."
        if self.left_out:
            text += f"\n{self.left_out}."
        return text


def look_at_folder(path: str | Path) -> FolderFacts:
    """Lists the images below a folder and looks at them, or at a sample of many.

    Raises:
        FileNotFoundError: If there is no such folder, or no image in it.
        OSError: If the folder cannot be read.
        ValueError: If no image of those that were looked at can be read.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise FileNotFoundError(f"The image folder {printable(path)!r} {what}.")
    root, left_out = str(folder.resolve()), LeftOut()
    names = list_images(root, EXTENSIONS, left_out)
    said = str(left_out) if left_out.counts else ""
    if not names:
        raise FileNotFoundError(
            f"No image in {printable(root)!r}: expected files at any depth with one of the "
            f"extensions {', '.join(sorted(EXTENSIONS))}.{f' {said}.' if said else ''}"
            f"{_advice(root)}"
        )
    chosen = evenly(names, MAX_HEADERS)
    to_decode = set(evenly(chosen, MAX_DECODED))
    headers, unreadable = [], []
    for name in chosen:
        found = _look_at(os.path.join(root, name), decode=name in to_decode)
        if isinstance(found, ImageHeader):
            headers.append(found)
        else:
            unreadable.append(f"{printable(name)} {found}")
    if not headers:
        raise ValueError(
            f"None of the {len(chosen):,} images of {printable(root)!r} that were looked at (of "
            f"{len(names):,}) can be read: {_first(unreadable)}."
        )
    return FolderFacts(root, tuple(names), tuple(headers), tuple(unreadable), len(to_decode), said)


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


def _advice(root: str) -> str:
    """Says what to do with a folder that has no images but videos or tar files, else nothing."""
    found = {
        Path(name).suffix.lower() for name in list_images(root, (*VIDEO_SUFFIXES, TAR), LeftOut())
    }
    if found & set(VIDEO_SUFFIXES):
        return " Training takes images: save frames, as by ffmpeg -i CLIP -r 1 frames/%05d.jpg."
    if TAR in found:
        return " For tar shards of images, write a config with mmdino.TarShards (docs/data.md)."
    return ""


def _look_at(path: str, decode: bool) -> ImageHeader | str:
    """Returns the header of an image, or why it cannot be read, such as "is empty"."""
    if fault := image_fault(path):
        return fault
    try:
        header = None if decode else image_header(path)
    except LOADING_ERRORS:
        # Of a format that OpenCV knows and Pillow does not, or none.
        header = None
    if header is not None:
        return header
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
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
