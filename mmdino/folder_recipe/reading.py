"""How files that are no usual images are read, and what they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmdino.datasets.image_check import ImageHeader
from mmdino.datasets.image_folder import EXTENSIONS, LOADING_ERRORS
from mmdino.datasets.readers.levels import ReaderMismatchError
from mmdino.datasets.tar_backend import PREFIX
from mmdino.datasets.transforms.load_image import LoadImage
from mmdino.models.preprocessors.multi_view_preprocessor import LEVELS_16_TO_8

LEAST_DEVIATION = 1.0
"""Of a channel, in levels of 255, so that one of a single value does not become infinite."""


class Reading(NamedTuple):
    """A function that reads images, and the extensions of its files.

    Attributes:
        reader: What :class:`~mmdino.datasets.LoadImage` takes.
        extensions: Extensions; None for those of usual images.
    """

    reader: str | Mapping[str, Any]
    extensions: Sequence[str] | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The extensions, in lower case."""
        return tuple(each.lower() for each in self.extensions or EXTENSIONS)


def reading_from(
    reader: str | Mapping[str, Any] | None, extensions: Sequence[str] | None
) -> Reading | None:
    """Returns how images are read; None for usual ones.

    Raises:
        ValueError: If extensions are given without a reader.
    """
    if reader is not None:
        return Reading(reader, extensions)
    if extensions is not None:
        raise ValueError(
            f"extensions={list(extensions)} were given without a reader of such files. Name one, "
            "such as mmdino.read_tiff or mmdino.read_dicom."
        )
    return None


@dataclass(frozen=True)
class ReadImages:
    """What some images hold.

    Attributes:
        headers: Size, channels and bits of each that can be read.
        unreadable: Names and reasons of those that cannot.
        mean: Mean of each channel over their pixels, 0 to 255, colours in RGB.
        std: Standard deviation of each channel, likewise, at least ``LEAST_DEVIATION``.
    """

    headers: tuple[ImageHeader, ...]
    unreadable: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_images(names: Sequence[str], root: str, reading: Reading) -> ReadImages:
    """Reads images.

    Args:
        names: Their names relative to ``root``, or addresses in shards.
        root: A folder.
        reading: How they are read.

    Raises:
        TypeError: If there is no such function, it has no such argument, an image does not fit its
            arguments, or the images differ in their channels.
        ValueError: If the registry has no such function.
    """
    load = LoadImage(reading.reader)
    headers, unreadable, sums = [], [], []
    for name in names:
        path = name if name.startswith(f"{PREFIX}://") else os.path.join(root, name)
        try:
            image = load.transform({"img_path": path})["img"]
        except LOADING_ERRORS as error:
            unreadable.append(f"{name} ({error})")
            continue
        height, width, channels = image.shape
        headers.append(ImageHeader(width, height, channels, 8 * image.itemsize))
        if channels != headers[0].channels:
            raise ReaderMismatchError(
                f"The reader gives {name} {channels} channel(s) and others {headers[0].channels}: "
                "choose the same of all images, as by bands=[...] of mmdino.read_tiff."
            )
        levels = image.astype(np.float64) / (LEVELS_16_TO_8 if image.dtype == np.uint16 else 1)
        pixels = levels.reshape(-1, channels)
        sums.append((len(pixels), pixels.sum(0), (pixels**2).sum(0)))
    mean, std = _statistics(sums)
    return ReadImages(tuple(headers), tuple(unreadable), mean, std)


def _statistics(
    sums: Sequence[tuple[int, np.ndarray, np.ndarray]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of channels from counts, sums and sums of squares of images."""
    if not sums:
        return (), ()
    count, total, squares = (sum(column) for column in zip(*sums, strict=True))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0)).clip(LEAST_DEVIATION)
    # The loader has turned colours to BGR.
    mean, std = (each[::-1] if len(each) == 3 else each for each in (mean, std))
    return tuple(mean.round(2).tolist()), tuple(std.round(2).tolist())
