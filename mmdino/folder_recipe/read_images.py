"""Reads images that a function of its own opens, for what they hold."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdino.datasets.image_check import ImageHeader, image_fault
from mmdino.datasets.image_folder import LOADING_ERRORS, Unreadable
from mmdino.datasets.readers.levels import ReaderMismatchError
from mmdino.datasets.readers.reading import Reading
from mmdino.datasets.tar_backend import PREFIX
from mmdino.datasets.transforms.load_image import LoadImage
from mmdino.models.preprocessors.multi_view_preprocessor import LEVELS_16_TO_8
from mmdino.utils.printable import printable

LEAST_DEVIATION = 1.0
"""Of a channel, in levels of 255, so that one of a single value does not become infinite."""


@dataclass(frozen=True)
class ReadImages:
    """What some images hold.

    Attributes:
        headers: Size, channels and bits of each that can be read.
        unreadable: Names and reasons of those that cannot.
        mean: Mean of each channel over their pixels, 0 to 255, colours in RGB; empty where it was
            not measured.
        std: Standard deviation of each channel, likewise, at least ``LEAST_DEVIATION``.
    """

    headers: tuple[ImageHeader, ...]
    unreadable: tuple[Unreadable, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def read_images(names: Sequence[str], root: str, reading: Reading) -> ReadImages:
    """Reads images.

    Args:
        names: Their names relative to ``root``, or addresses in shards.
        root: A folder.
        reading: How they are read.

    Returns:
        What they hold; without headers if none can be read.

    Raises:
        TypeError: If the function has no such argument, an image does not fit its arguments, or the
            images differ in their channels or bits.
        ValueError: If the registry has no such function.
    """
    load = LoadImage(reading.reader)
    headers, unreadable, moments = [], [], []
    for name in names:
        in_shard = name.startswith(f"{PREFIX}://")
        path = name if in_shard else os.path.join(root, name)
        # As the data set does before it decodes a file.
        if not in_shard and (fault := image_fault(path)):
            unreadable.append(Unreadable(name, fault))
            continue
        try:
            image = load.transform({"img_path": path})["img"]
        except LOADING_ERRORS as error:
            unreadable.append(Unreadable(name, f"({error})"))
            continue
        height, width, channels = image.shape
        headers.append(ImageHeader(width, height, channels, 8 * image.itemsize))
        _require_same(headers[-1], headers[0], name)
        moments.append([_moments(image[..., channel]) for channel in range(channels)])
    mean, std = _statistics(moments)
    return ReadImages(tuple(headers), tuple(unreadable), mean, std)


def _require_same(header: ImageHeader, first: ImageHeader, name: str) -> None:
    found, others = (f"{h.channels} channel(s) of {h.bits} bits" for h in (header, first))
    if found != others:
        raise ReaderMismatchError(
            f"The reader gives {printable(name)} {found} and others {others}: choose the same of "
            "all, as by bands=[...] and value_range=(low, high) of mmdino.read_tiff."
        )


def _moments(channel: np.ndarray) -> tuple[int, float, float]:
    """Returns number, sum and sum of squares of the pixels of a channel, 0 to 255."""
    levels = channel / (LEVELS_16_TO_8 if channel.dtype == np.uint16 else 1.0)
    return levels.size, levels.sum(), np.square(levels, out=levels).sum()


def _statistics(
    moments: Sequence[Sequence[tuple[int, float, float]]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of each channel from the moments of images."""
    if not moments:
        return (), ()
    count, total, squares = np.sum(moments, axis=0).T
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0)).clip(LEAST_DEVIATION)
    # The loader has turned colours to BGR.
    mean, std = (each[::-1] if len(each) == 3 else each for each in (mean, std))
    return tuple(mean.round(2).tolist()), tuple(std.round(2).tolist())
