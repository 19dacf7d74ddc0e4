"""One process at a time in a folder."""

from __future__ import annotations

import atexit
import os
import socket
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
"""Name of the lock file. It stays when the process ends; only the lock on it counts."""

_held: dict[Path, IO[str]] = {}


def lock_folder(folder: str | Path) -> None:
    """Locks a folder for the rest of the process; a second call in the process does nothing.

    The lock goes when the process ends, however it ends. It is a record lock and not ``flock``,
    since that one would live on in the workers of a data loader whose process was killed.

    Args:
        folder: The folder, which is created.

    Raises:
        ValueError: If another process holds the lock, or its file is a folder, link or device.
    """
    path = Path(folder).resolve() / LOCK
    if path in _held or fcntl is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # What a link leads to would be overwritten.
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError(f"{path} must be a plain file, which marks a folder in use: remove it.")
    file = path.open("a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        owner = file.read().strip() or "another process"
        file.close()
        raise ValueError(
            f"The work dir {str(folder)!r} is in use by {owner}. Wait for that run, stop it, or "
            "choose another folder with --work-dir."
        ) from error
    except OSError as error:
        # Some network file systems have no locks. mmengine takes a second to import, which a tool's
        # --help need not wait for.
        from mmengine.logging import print_log

        print_log(f"{folder} cannot be locked against a second run: {error}.", "current")
        file.close()
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _held[path] = file


def unlock_folder(folder: str | Path) -> None:
    """Gives back the lock of :func:`lock_folder`, if this process has it."""
    file = _held.pop(Path(folder).resolve() / LOCK, None)
    if file is not None:
        file.close()


@atexit.register
def _unlock_all() -> None:
    """Closes the lock files, of which Python would otherwise warn."""
    for file in _held.values():
        file.close()
