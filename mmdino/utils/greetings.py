"""Messages of other packages that mean nothing to users, at every start or for bad images.

The maintained distribution of mmpretrain prints that a package for a data set of its own company is
not installed. mmcv warns that mmcv-lite has no compiled operators, of which mmdino needs none;
segmentation, which needs some, says so itself. torch warns each rank of an option that mmengine's
wrapper passes. OpenCV prints up to six lines for each image that it
cannot decode, and Pillow one for each TIFF of many bands, even where another reader takes them.
Training, evaluation and ``mmdino train --data`` name and count unreadable images themselves.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from mmdino.utils.after_import import during_import

PRINTED = "Could not import OneDL"
WARNED_RANKS = "`broadcast_buffers` is deprecated"
WARNED = "Fail to import ``MultiScaleDeformableAttention``"


def silence_greetings() -> None:
    """Keeps these messages, and nothing else, off the terminal."""
    # Read when OpenCV is loaded. A user's own level stays.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=WARNED, category=UserWarning)
    warnings.filterwarnings("ignore", message=WARNED_RANKS, category=FutureWarning)
    # It is printed with print(), at the import of this module.
    during_import("mmpretrain.datasets", without_printed)


@contextmanager
def without_printed() -> Iterator[None]:
    """Drops the printed message within a block."""
    with redirect_stdout(_WithoutPrinted(sys.stdout)):
        yield


class _WithoutPrinted:
    """A stream that hands all but one line on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ends_line = False

    def write(self, text: str) -> int:
        """Writes a text; ``print`` writes a line and its end one after the other."""
        is_end, self._ends_line = self._ends_line and text == "\n", text == PRINTED
        return len(text) if is_end or text == PRINTED else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
