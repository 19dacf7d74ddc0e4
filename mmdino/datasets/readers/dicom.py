"""DICOM."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmdino.datasets.readers.levels import (
    ReaderMismatchError,
    require_pair,
    require_size,
    to_levels,
)
from mmdino.registry import FUNCTIONS
from mmdino.utils.dependencies import import_optional

if TYPE_CHECKING:
    from pydicom import Dataset

WINDOWS = ("file", "bits")
DAMAGED = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError),
    struct.error,
)
"""What pydicom raises of a damaged file, beside ValueError, OSError and its own errors."""


@FUNCTIONS.register_module()
def read_dicom(content: bytes, window: str | Sequence[float] = "file") -> np.ndarray:
    """Decodes a DICOM file of one picture.

    Grey values are converted to their unit (Hounsfield units in computed tomography), and then the
    window is spread over 16 bits; what lies outside becomes black or white. ``MONOCHROME1``, where
    large values are dark, is inverted. A window that suits the eye may hide what a network could
    use: a wide one keeps more.

    Args:
        content: The file.
        window: ``(center, width)`` in the unit, such as (40, 400) for soft tissue in computed
            tomography; ``"file"`` for the first window of each file, which images may then differ
            in; or ``"bits"`` for all values that the file can hold.

    Returns:
        The image: grey (H, W, 1) in uint16, or colour (H, W, 3) in RGB in uint8 or uint16.

    Raises:
        ModuleNotFoundError: If pydicom, or the codec that the file needs, is not installed.
        ReaderMismatchError: If the file has several pictures, a palette, no window where
            ``window="file"``, or is in colour where ``window`` is two numbers.
        TypeError: If ``window`` is none of the above.
        ValueError: If the file is damaged, no DICOM, or has no picture.

    Example:
        >>> step = dict(type="mmdino.LoadImage", channels=1,
        ...             reader=dict(type="mmdino.read_dicom", window=(40, 400)))
    """
    _check_window(window)
    pydicom = import_optional("pydicom", "read_dicom", "dicom")
    pixels = import_optional("pydicom.pixels", "read_dicom", "dicom")
    try:
        file = pydicom.dcmread(io.BytesIO(content))
        if "PixelData" not in file:
            raise ValueError("a DICOM file without a picture")
        require_size(file.Rows, file.Columns)
        frames = int(file.get("NumberOfFrames") or 1)
        if frames > 1 or file.PhotometricInterpretation == "PALETTE COLOR":
            raise ReaderMismatchError(
                f"read_dicom got a file with {frames} picture(s) and "
                f"{file.PhotometricInterpretation}; it reads one picture, grey or of three "
                "colours. Split or convert such files."
            )
        values = pixels.pixel_array(file)
    except ReaderMismatchError:
        raise
    except pydicom.errors.InvalidDicomError as error:
        raise ValueError(f"no DICOM file: {error}") from error
    # NotImplementedError, of unknown kinds of files and of damaged ones, is a RuntimeError.
    except (*DAMAGED, pydicom.errors.BytesLengthException) as error:
        if "missing dependencies" in str(error):
            raise ModuleNotFoundError(
                f"read_dicom cannot decompress a file: {error}. Install what it names.",
                name="pydicom",
            ) from error
        if "transfer syntax" in str(error):
            raise ReaderMismatchError(
                f"read_dicom got a file whose compression pydicom does not know: {error}"
            ) from error
        raise ValueError(f"a damaged DICOM file: {error}") from error
    if values.ndim == 3:
        if not isinstance(window, str):
            raise ReaderMismatchError(
                f"read_dicom got window={tuple(window)!r} and an image in colour, which has none."
            )
        return values
    low, high = _bounds(file, window, values.dtype)
    levels = to_levels(pixels.apply_modality_lut(values, file), low, high)
    if file.PhotometricInterpretation == "MONOCHROME1":
        levels = ~levels
    return levels[..., np.newaxis]


def _check_window(window: str | Sequence[float]) -> None:
    if isinstance(window, str):
        if window not in WINDOWS:
            raise TypeError(
                f"read_dicom got window={window!r}; it must be (center, width), or one of "
                f"{', '.join(WINDOWS)}."
            )
        return
    require_pair("read_dicom", "window", window)
    if window[1] <= 1:
        raise TypeError(f"read_dicom got window={tuple(window)}; the width must be above 1.")


def _bounds(file: Dataset, window: str | Sequence[float], dtype: np.dtype) -> tuple[float, float]:
    """Returns the values, in their unit, that become black and white."""
    if window == "bits":
        is_signed = file.PixelRepresentation == 1
        least = -(2 ** (file.BitsStored - 1)) if is_signed else 0
        ends = np.array([least, least + 2**file.BitsStored - 1], dtype=dtype)
        pixels = import_optional("pydicom.pixels", "read_dicom", "dicom")
        low, high = sorted(float(value) for value in pixels.apply_modality_lut(ends, file))
        return low, high
    center, width = _window_of(file) if window == "file" else window
    # DICOM PS3.3, C.11.2.1.2.1 (linear).
    return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2


def _window_of(file: Dataset) -> tuple[float, float]:
    # Some files have several, of which the first is meant for display.
    found = [np.ravel(file.get(name, [])) for name in ("WindowCenter", "WindowWidth")]
    if any(part.size == 0 or part[0] is None for part in found) or float(found[1][0]) <= 1:
        raise ReaderMismatchError(
            'read_dicom got window="file" and a file without a window. Set window=(center, width), '
            'such as (40, 400) for soft tissue in computed tomography, or window="bits".'
        )
    return float(found[0][0]), float(found[1][0])
