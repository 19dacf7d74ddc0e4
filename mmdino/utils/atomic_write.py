"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Gives a path to write to, and renames it to the wanted one when the block ends well.

    If the block raises, what it wrote is removed and a file that was there before stays.

    Args:
        path: File wanted; its folder is made.

    Yields:
        A path of the same name in a folder of its own, since some writers put further files beside
        the one they are given. The folder's name is fixed, so that a killed run leaves at most one.
    """
    path = Path(path)
    folder = path.parent / f".{path.name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        partial = folder / path.name
        yield partial
        os.replace(partial, path)
    finally:
        shutil.rmtree(folder)
