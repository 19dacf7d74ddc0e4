"""What can be said of an image file before it is decoded."""

from __future__ import annotations

import os
import stat
import struct
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLESPERPIXEL,
    ImageFileDirectory_v2,
)

MAX_PIXELS = 178_956_970
"""Above this Pillow takes an image for a decompression bomb; decoded it is 0.5 GiB in colour."""

PNG = b"\x89PNG\r\n\x1a\n"
"""What a PNG starts with."""

JPEG = b"\xff\xd8"
"""What a JPEG starts with."""
JPEG_FRAMES = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2")
"""Markers of the size of a baseline, an extended and a progressive JPEG."""

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little- and big-endian, and the same of BigTIFF."""

PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Channels by the colour type of a PNG; a palette holds colours."""
JPEG_CHANNELS = {1: 1, 3: 3, 4: 3}
"""Channels of the decoded image by the components of a JPEG; four are those of a printer."""
PILLOW_CHANNELS = {"P": 3, "PA": 4, "CMYK": 3}
"""Channels of the decoded image by Pillow's mode, where they are not its bands."""
PILLOW_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}
"""Bits of a channel by Pillow's mode, where they are not 8."""

MAX_BYTES_PER_PIXEL = 16
"""Eight channels of 16 bits, uncompressed."""


class ImageHeader(NamedTuple):
    """What the header of an image says."""

    width: int
    height: int
    channels: int
    """2 and 4 include transparency."""
    bits: int
    """Bits of a channel."""


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
        with open(path, "rb") as file:
            return content_fault(file, status.st_size, max_pixels)
    except OSError as error:
        return _not_opened(error)


def content_fault(file: BinaryIO, size: int, max_pixels: int | None = MAX_PIXELS) -> str | None:
    """Says why an image of ``size`` bytes should not be decoded, as :func:`image_fault` does."""
    if size == 0:
        return "is empty"
    if max_pixels is None:
        return None
    if size > MAX_BYTES_PER_PIXEL * max_pixels:
        return f"has {size} bytes, more than an uncompressed image of max_pixels={max_pixels} takes"
    try:
        width, height, *_ = read_header(file)
    except Image.DecompressionBombError:
        return f"has more than max_pixels={max_pixels} pixels"
    except UnidentifiedImageError:
        # Either no image, or of a format that OpenCV or another reader knows and Pillow does not.
        return None
    except OSError as error:
        return _not_opened(error)
    except (RuntimeError, SyntaxError, ValueError, struct.error):
        return "has a damaged header"
    if width * height > max_pixels:
        return f"has {width} x {height} pixels, more than max_pixels={max_pixels}"
    return None


def _not_opened(error: OSError) -> str:
    return f"cannot be opened: {error.strerror or error}"


def image_header(path: str | os.PathLike) -> ImageHeader:
    """Reads the header of an image.

    Raises:
        OSError: If the file cannot be opened, or is no image that Pillow knows
            (``UnidentifiedImageError``).
        RuntimeError, SyntaxError, ValueError, struct.error: If the header is damaged; the first is
            what Pillow's plugin for AVIF raises.
    """
    with open(path, "rb") as file:
        return read_header(file)


def read_header(file: BinaryIO) -> ImageHeader:
    """Reads the header of an image, as :func:`image_header` does."""
    start = file.read(26)
    # Pillow takes as long for the header of a small image as OpenCV for all of it, and reads 16-bit
    # colours of a PNG as 8.
    if start.startswith(PNG):
        width, height = struct.unpack(">II", start[16:24])
        bits, kind = start[24:].ljust(2, b"\0")
        return ImageHeader(width, height, PNG_CHANNELS.get(kind, 3), bits)
    if start.startswith(JPEG) and (header := _jpeg_header(file)) is not None:
        return header
    with Image.open(file) as image:
        channels = PILLOW_CHANNELS.get(image.mode, len(image.getbands()))
        return ImageHeader(*image.size, channels, PILLOW_BITS.get(image.mode, 8))


def dropped_bands(file: BinaryIO) -> str | None:
    """Says of a TIFF which bands OpenCV leaves out when it reads it as grey or colours.

    Returns:
        Such as "has 4 bands, of which 1 would be read"; None if it is no TIFF, or has no bands but
        grey or colours, and transparency.
    """
    start = file.read(4)
    if start not in TIFF_STARTS:
        return None
    start += file.read(12 if 43 in start else 4)
    tags = ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    bands, kind = tags.get(SAMPLESPERPIXEL, 1), tags.get(PHOTOMETRIC_INTERPRETATION)
    read = {0: 1, 1: 1, 2: 3}.get(kind, bands)
    others = bands - read - (tags.get(EXTRASAMPLES, ()) in ((1,), (2,)))
    return f"has {bands} bands, of which {read} would be read" if others > 0 else None


def _jpeg_header(file: BinaryIO) -> ImageHeader | None:
    """Reads the header of a usual JPEG; of any other, or a damaged one, returns None."""
    file.seek(len(JPEG))
    while len(start := file.read(4)) == 4 and start[0] == 0xFF:
        length = int.from_bytes(start[2:], "big")
        if start[:2] in JPEG_FRAMES:
            frame = file.read(6).ljust(6, b"\0")
            bits, height, width, components = struct.unpack(">BHHB", frame)
            usual = bits == 8 and height and width and length == 8 + 3 * components
            if not usual or components not in JPEG_CHANNELS:
                return None
            return ImageHeader(width, height, JPEG_CHANNELS[components], bits)
        # Before it come segments of tables, and of what applications left there. Other markers have
        # no length, or begin the image.
        if not 0xC0 <= start[1] < 0xFF or 0xD0 <= start[1] <= 0xDA or length < 2:
            return None
        file.seek(length - 2, os.SEEK_CUR)
    return None
