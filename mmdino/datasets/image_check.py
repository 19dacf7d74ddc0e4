"""What can be said of an image file before it is decoded."""

from __future__ import annotations

import os
import stat
import struct

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 178_956_970
"""Above this Pillow takes an image for a decompression bomb; decoded it is 0.5 GiB in colour."""

PNG = b"\x89PNG\r\n\x1a\n"
"""What a PNG starts with."""

MAX_BYTES_PER_PIXEL = 8
"""Four channels of 16 bits, uncompressed."""


def image_fault(path: str | os.PathLike, max_pixels: int | None = MAX_PIXELS) -> str | None:
    """Says why a local file should not be decoded, from its size and its header alone.

    Args:
        path: The file.
        max_pixels: Largest number of pixels; at most ``MAX_PIXELS``, which Pillow enforces. None
            leaves size and header unchecked.

    Returns:
        The reason, such as "is empty", or None if none is found. Then the file may still be
        damaged, or no image at all.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if status.st_size == 0:
            return "is empty"
        if max_pixels is None:
            return None
        if status.st_size > MAX_BYTES_PER_PIXEL * max_pixels:
            return (
                f"has {status.st_size} bytes, more than an uncompressed image of "
                f"max_pixels={max_pixels} takes"
            )
        width, height = _size(path)
    except Image.DecompressionBombError:
        return f"has more than max_pixels={max_pixels} pixels"
    except UnidentifiedImageError:
        # Either no image, or of a format that OpenCV knows and Pillow does not.
        return None
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}"
    except (SyntaxError, ValueError, struct.error):
        return "has a damaged header"
    if width * height > max_pixels:
        return f"has {width} x {height} pixels, more than max_pixels={max_pixels}"
    return None


def _size(path: str | os.PathLike) -> tuple[int, int]:
    """Reads the width and height of an image from its header."""
    with open(path, "rb") as file:
        start = file.read(24)
        # Pillow takes as long for the header of a small PNG as OpenCV for all of it.
        if start.startswith(PNG):
            return struct.unpack(">II", start[16:])
        with Image.open(file) as image:
            return image.size
