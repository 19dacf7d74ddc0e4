"""Atomic file writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, which replaces ``path`` when the block succeeds.

    If the block raises, the temporary file is removed and an existing file is left unchanged.

    Args:
        path: The target file; its folder is created.

    Yields:
        A path of the same name in a separate folder, since some writers create files beside the
        given one. The folder's name is fixed, so that killed runs leave at most one.
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
