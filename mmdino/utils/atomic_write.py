"""Atomic and durable file writes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".{}.partial"
"""Name of the folder that a file is written in before it gets its own name."""
NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP)
"""Errors of file systems that cannot flush a folder, such as some network drives."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, which replaces ``path`` when the block succeeds.

    If the block raises, the disk is full or the process is killed, an existing file is left
    unchanged. The content is flushed to disk before it gets its name, so a power failure leaves
    either the old file or the new one. Not for two processes that write one file at a time.

    Args:
        path: The target file; its folder is created.

    Yields:
        A path of the same name in a separate folder, since some writers create files beside the
        given one. The folder's name is fixed, so that the next write removes what a killed one
        left.
    """
    path, partial = Path(path), partial_path(path)
    folder = partial.parent
    # On its own, so that an error names it and not the temporary folder.
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(folder)


def partial_path(path: str | Path) -> Path:
    """Returns the temporary path that :func:`atomic_write` yields."""
    path = Path(path)
    return path.parent / PARTIAL.format(path.name) / path.name


def remove_partial_writes(folder: str | Path, names: str) -> None:
    """Removes from a folder what killed writes of :func:`atomic_write` left.

    Args:
        folder: The folder.
        names: Pattern of the files' names, such as ``"*.pth"``: files that no other process writes,
            whose partial files would vanish under it.
    """
    for partial in Path(folder).glob(PARTIAL.format(names)):
        if partial.is_dir() and not partial.is_symlink():
            shutil.rmtree(partial)


def _flush_folder(folder: Path) -> None:
    """Flushes the names in a folder, on platforms that open folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)
