"""TIFF and GeoTIFF with any number of bands."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from mmdino.datasets.readers.levels import (
    ReaderMismatchError,
    require_pair,
    require_size,
    to_levels,
)
from mmdino.registry import FUNCTIONS
from mmdino.utils.dependencies import import_optional

DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError),
    *(struct.error, zlib.error),
)
"""What tifffile and its codecs raise of a damaged file, beside ValueError and OSError."""


@FUNCTIONS.register_module()
def read_tiff(
    content: bytes,
    bands: Sequence[int] | None = None,
    value_range: Sequence[float] | None = None,
) -> np.ndarray:
    """Decodes a TIFF or GeoTIFF, with the bands side by side or one after the other.

    OpenCV reads one to four bands, of which mmcv's ``LoadImageFromFile`` silently drops the fourth,
    and none of TIFFs with more. Of several pictures in a file the first is read.

    Args:
        content: The file.
        bands: Bands to take, counted from 0, in this order. None for all.
        value_range: Values that become black and white; those outside become the nearer of the two,
            and what is not a number black. Needed for other types than uint8 and uint16, and for
            uint16 that uses a small part of its 65536 levels, such as Sentinel-2's reflectances,
            (0, 10000): views have 8 bits.

    Returns:
        The image (H, W, C), uint8 or uint16; uint16 with ``value_range``.

    Raises:
        ModuleNotFoundError: If tifffile, or the codecs that this file needs, are not installed.
        ReaderMismatchError: If the values need a ``value_range``, a band is missing, or the file is
            no picture with bands.
        ValueError: If the file is damaged, or no TIFF.

    Example:
        >>> # The bands of 10 m of Sentinel-2, of GeoTIFFs with all 13:
        >>> step = dict(type="mmdino.LoadImage", channels=4, reader=dict(
        ...     type="mmdino.read_tiff", bands=[1, 2, 3, 7], value_range=(0, 10000)))
    """
    if value_range is not None:
        require_pair("read_tiff", "value_range", value_range)
        if not value_range[0] < value_range[1]:
            raise TypeError(
                f"read_tiff got value_range={tuple(value_range)}; it must be (low, high)."
            )
    tifffile = import_optional("tifffile", "read_tiff", "geotiff")
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            series = file.series[0]
            axes, shape = series.axes, dict(zip(series.axes, series.shape, strict=True))
            if not {"Y", "X"} <= set(axes) or len(axes) > 3:
                raise ReaderMismatchError(
                    f"read_tiff got a file with axes {axes} of shape {series.shape}; it reads "
                    "pictures of height, width and bands alone."
                )
            require_size(shape["Y"], shape["X"], series.nbytes)
            image = series.asarray()
    except ReaderMismatchError:
        raise
    except DAMAGED as error:
        raise ValueError(f"a damaged TIFF: {error}") from error
    except ValueError as error:
        # The only sign of it.
        if "imagecodecs" not in str(error):
            raise
        raise ModuleNotFoundError(
            f'read_tiff cannot decompress a file: {error}. Run: pip install "mmdino[geotiff]"',
            name="imagecodecs",
        ) from error
    if image.ndim == 2:
        image = image[..., np.newaxis]
    else:
        band = next(i for i, axis in enumerate(axes) if axis not in "YX")
        image = np.moveaxis(image, band, -1)
    image = _take(image, bands)
    if value_range is not None:
        return to_levels(image, *value_range)
    if image.dtype not in (np.uint8, np.uint16):
        raise ReaderMismatchError(
            f"read_tiff got values of type {image.dtype}, here {image.min()} to {image.max()}. Set "
            "value_range=(low, high) to the values that are to be black and white."
        )
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def _take(image: np.ndarray, bands: Sequence[int] | None) -> np.ndarray:
    if bands is None:
        return image
    count = image.shape[2]
    if not bands or any(not isinstance(band, int) or not 0 <= band < count for band in bands):
        raise ReaderMismatchError(
            f"read_tiff got bands={bands!r}, but the image has {count}: give numbers of 0 to "
            f"{count - 1}."
        )
    return image[..., list(bands)]
