"""Where the members of a tar file lie, kept in a file so that it is read through only once."""

from __future__ import annotations

import errno
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from mmdino.utils.printable import printable

SUFFIX = ".index.json"
VERSION = 1
LABEL_SUFFIX = ".cls"
LONGEST_LABEL = 64
"""Bytes of the largest label that is read."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Member(NamedTuple):
    """A file in a tar file."""

    name: str
    offset: int
    """Bytes before its content."""
    size: int
    text: str | None
    """The content, of a label."""


class Stamp(NamedTuple):
    """What tells a changed file from an unchanged one."""

    size: int
    modified: int
    """In nanoseconds."""

    @classmethod
    def of(cls, path: str | Path) -> Stamp:
        """Returns the present stamp of a file."""
        status = os.stat(path)
        return cls(status.st_size, status.st_mtime_ns)


class ShardIndex(NamedTuple):
    """The members of a tar file in their order, and the stamp that it had."""

    members: list[Member]
    stamp: Stamp


def index_path(shard: str | Path, folder: str | Path | None) -> Path:
    """Returns where the index of a shard is kept: beside it, or in a folder."""
    name = Path(shard).name + SUFFIX
    return Path(shard).with_name(name) if folder is None else Path(folder, name)


def read_index(path: Path) -> ShardIndex | None:
    """Reads an index, None if there is none, or if it is damaged or of another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
        if content["version"] != VERSION:
            return None
        members = [Member(*member) for member in content["members"]]
        return ShardIndex(members, Stamp(*content["stamp"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_index(path: Path, index: ShardIndex) -> bool:
    """Writes an index; several processes may write the same one at a time.

    Returns:
        Whether it was written; not where one may not write.
    """
    content = {"version": VERSION, "stamp": index.stamp, "members": index.members}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        if error.errno in READ_ONLY:
            return False
        raise
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise
    return True


def index_tar(path: str | Path) -> ShardIndex:
    """Reads through the headers of a tar file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is compressed, truncated, or no tar file.
    """
    # Before the reading, so that a change meanwhile shows.
    stamp = Stamp.of(path)
    members = []
    with open(path, "rb") as file:
        if kind := COMPRESSED.get(file.read(2)):
            raise ValueError(
                f"The shard {printable(path)!r} is compressed ({kind}), so that no member can be "
                "read alone. Decompress it; images are compressed already."
            )
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for info in archive:
                    if not info.isreg() or info.issparse():
                        continue
                    if info.offset_data + info.size > stamp.size:
                        raise tarfile.ReadError(f"{printable(info.name)} ends beyond it")
                    members.append(
                        Member(info.name, info.offset_data, info.size, _label(archive, info))
                    )
                    # tarfile keeps each header, of which there may be millions.
                    archive.members.clear()
        except tarfile.TarError as error:
            raise ValueError(
                f"The shard {printable(path)!r} is damaged, incomplete, or no tar file: {error}. "
                "Copy it again, or leave it out."
            ) from error
    return ShardIndex(members, stamp)


def _label(archive: tarfile.TarFile, info: tarfile.TarInfo) -> str | None:
    if not info.name.endswith(LABEL_SUFFIX) or info.size > LONGEST_LABEL:
        return None
    return archive.extractfile(info).read().decode(errors="replace").strip()
