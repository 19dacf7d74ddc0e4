"""Integrity of the zip archives that torch writes."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmdino.weights.pickle_inspection import (
    STORAGE_DTYPES,
    SavedTensor,
    inspect_modules,
    inspect_pickle,
)

BLOCK = 2**18
"""Bytes read at a time."""
PICKLE = "data.pkl"
TENSORS = "data/"
CODE = "code/"
TORCHSCRIPT = ("constants.pkl", CODE)
OPEN_ERRORS = (zipfile.BadZipFile, ValueError, LookupError, RuntimeError, OverflowError, OSError)
"""Errors of zipfile for a damaged table of contents."""
READ_ERRORS = (*OPEN_ERRORS, EOFError)
"""Errors of zipfile for a damaged record."""
ENCRYPTED = 1
"""Bit of a record's flags."""


def verify_archive(path: Path, tensors: bool = True) -> None:
    """Checks that an archive of ``torch.save`` is whole, and that its pickle is harmless.

    torch writes a CRC-32 of each record, but does not compare it on reading. Archives that were
    saved after ``torch.serialization.set_crc32_options(False)`` have none, and are not compared.

    Args:
        path: A file that starts as a zip archive does.
        tensors: Whether to read the tensors too, which takes as long as loading them.

    Raises:
        ValueError: If a record is damaged, the file is another kind of archive, or the pickle asks
            for more than tensors and plain values. The message is the rest of a sentence that
            starts with the file's name.
    """
    size = path.stat().st_size
    try:
        archive = zipfile.ZipFile(path)
    except OPEN_ERRORS as error:
        raise ValueError(f"is corrupted or truncated: {error}") from error
    with archive:
        records = _records(archive, size)
        content = b"".join(_blocks(archive, records[PICKLE]))
        _require_storages(records, inspect_pickle(io.BytesIO(content), size))
        for name, record in records.items():
            if tensors or not name.startswith(TENSORS):
                for _ in _blocks(archive, record):
                    pass


def is_torchscript(path: Path) -> bool:
    """Returns whether a zip archive is one of TorchScript, which has code beside its tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_name(info).startswith(TORCHSCRIPT) for info in archive.infolist())
    except OPEN_ERRORS:
        return False


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of the modules in a TorchScript archive, whose code is not looked at.

    torch would compile the code to read the tensors. Here the pickle of the modules is interpreted,
    and the numbers are taken from where it says that they are.

    Args:
        path: An archive that :func:`is_torchscript`.

    Raises:
        ValueError: As in :func:`verify_archive`.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = _records(archive, size)
        content = b"".join(_blocks(archive, records[PICKLE]))
        tensors, storages = inspect_modules(io.BytesIO(content), size)
        _require_storages(records, storages)
        numbers = {
            key: bytearray().join(_blocks(archive, records[TENSORS + key])) for key in storages
        }
    return {name: _tensor(saved, numbers[saved.storage]) for name, saved in tensors.items()}


def _tensor(saved: SavedTensor, numbers: bytearray) -> Tensor:
    dtype = STORAGE_DTYPES[saved.kind]
    if not math.prod(saved.size):
        return torch.empty(saved.size, dtype=dtype)
    flat = torch.frombuffer(numbers, dtype=dtype)
    return flat.as_strided(saved.size, saved.stride, saved.offset).clone()


def _require_storages(records: dict[str, zipfile.ZipInfo], storages: dict[str, int]) -> None:
    """Checks that the records have the bytes of each storage of tensors."""
    for key, num_bytes in storages.items():
        record = records.get(TENSORS + key)
        if record is None or record.file_size != num_bytes:
            found = "missing" if record is None else f"of {record.file_size} bytes"
            raise ValueError(
                f"is corrupted: its tensor data {TENSORS + key} is {found}, expected "
                f"{num_bytes} bytes"
            )


def _name(info: zipfile.ZipInfo) -> str:
    """Returns the name of a record within the archive's folder."""
    return info.filename.partition("/")[2]


def _records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Returns the records by their names within the archive's folder, without reading them.

    The code of TorchScript, which may be compressed and is not read, is not among them.
    """
    infos = [info for info in archive.infolist() if not _name(info).startswith(CODE)]
    folders = {info.filename.split("/")[0] for info in infos}
    records = {_name(info): info for info in infos}
    if PICKLE not in records:
        raise ValueError(
            f"is a zip archive without {PICKLE}, which torch.save did not write: it has "
            f"{', '.join(repr(info.filename) for info in infos[:4]) or 'no files'}"
        )
    # torch ignores case.
    distinct = {info.filename.lower() for info in infos}
    if len(folders) != 1 or folders & {"", ".", ".."} or any(".." in name for name in records):
        raise ValueError("is corrupted: its records are not in one folder")
    if len(distinct) != len(infos):
        raise ValueError("is corrupted: it has two records of one name")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(
                f"has the compressed record {info.filename!r}: torch.save does not compress. It "
                "was packed by another program, or made to exhaust the memory"
            )
        if info.flag_bits & ENCRYPTED:
            raise ValueError(f"has the encrypted record {info.filename!r}")
    # Where the archive starts later, torch finds other records than zipfile.
    if sum(info.file_size for info in infos) > size or _start(archive) != 0:
        raise ValueError("is corrupted: its records do not fill the file")
    if not any(info.CRC for info in infos):
        for info in infos:
            # zipfile compares none that is None.
            info.CRC = None
    return records


def _start(archive: zipfile.ZipFile) -> int:
    """Returns where the first record begins."""
    return min(info.header_offset for info in archive.infolist())


def _blocks(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields a record's content, and compares its checksum at the end."""
    try:
        with archive.open(record) as file:
            while block := file.read(BLOCK):
                yield block
    except READ_ERRORS as error:
        raise ValueError(
            f"is corrupted: its record {record.filename!r} does not match its checksum or cannot "
            f"be read: {error}"
        ) from error
