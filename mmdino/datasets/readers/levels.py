"""What the readers of images share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdino.datasets.image_check import MAX_BYTES_PER_PIXEL, MAX_PIXELS
from mmdino.utils.numbers import require_number

WHITE = 2**16 - 1


class ReaderMismatchError(TypeError):
    """An image that is sound, but does not fit the arguments of its reader.

    It ends a run, where a damaged image is left out.
    """


def to_levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps values from ``low`` to ``high`` to 16 bits; what is outside gets the nearest level."""
    scaled = (values.astype(np.float64) - low) * (WHITE / (high - low))
    # What is not a number, as many GeoTIFFs mark missing pixels, becomes black.
    return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, WHITE)).astype(np.uint16)


def require_size(height: int, width: int, size: int = 0) -> None:
    """Checks the size of an image, and its bytes if they are known, before it is decoded.

    Raises:
        ValueError: If they are more than any image may have.
    """
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS}")
    if size > MAX_PIXELS * MAX_BYTES_PER_PIXEL:
        raise ValueError(f"{size} bytes, more than {MAX_BYTES_PER_PIXEL} for each pixel")


def require_pair(owner: str, name: str, pair: Sequence[float]) -> None:
    """Checks that an argument is two finite numbers.

    Raises:
        TypeError: If it is not.
    """
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise TypeError(f"{owner} got {name}={pair!r}; it must be two numbers.")
    for index, value in enumerate(pair):
        require_number(owner, f"{name}[{index}]", value)
