"""Feature banks as one file: NPZ, Parquet, or a FAISS index with a file of names beside it.

Each holds the features, the paths of the images, the classes if there are any, and what made it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmdino.evaluation.feature_bank import (
    NOT_AN_ARRAY,
    UNIT_LENGTH,
    FeatureBank,
    file_crc32,
    open_bank,
)
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.dependencies import import_optional
from mmdino.utils.printable import printable

SIDECAR = ".json"
"""What follows the name of an index in that of the file beside it."""
ROWS = 16_384
"""Features that are written at a time."""
OTHER_FILES = (".csv", ".h5", ".hdf5", ".index", ".json", ".npy", ".pkl", ".pt", ".pth", ".txt")
"""Suffixes that a folder of features has by mistake only."""


class Format(NamedTuple):
    """A format of files.

    Attributes:
        write: Writes a bank to a file.
        read: Reads a bank from a file.
        needs: Package that it needs, if any, as :func:`import_optional` takes it.
    """

    write: Callable[[FeatureBank, Path], None]
    read: Callable[[Path], FeatureBank]
    needs: tuple[str, str, str] | None = None


def format_of(path: str | Path) -> Format | None:
    """Returns the format of a bank's file by its suffix, None for a folder.

    Raises:
        ModuleNotFoundError: If the format needs a package that is not installed.
        ValueError: If the suffix is that of another format.
    """
    suffix = Path(path).suffix.lower()
    if suffix in OTHER_FILES and not Path(path).is_dir():
        raise ValueError(
            f"Features cannot be in a file {suffix}, as {printable(path)} asks for: expected "
            f"{', '.join(FORMATS)}, or the name of a folder."
        )
    found = FORMATS.get(suffix)
    if found is None or Path(path).is_dir():
        return None
    if found.needs:
        import_optional(*found.needs)
    return found


def open_features(path: str | Path) -> FeatureBank:
    """Opens a bank in a folder or a file.

    Raises:
        FileNotFoundError: If there is none.
        ModuleNotFoundError: If its format needs a package that is not installed.
        ValueError: If it is not finished or damaged, or no bank.
    """
    path = Path(path)
    found = format_of(path)
    if found is None:
        return open_bank(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no feature bank {printable(path)}. Make one with: "
            f"mmdino embed CHECKPOINT IMAGE_FOLDER {printable(path)}"
        )
    return found.read(path)


def check_encodable(names: list[str], path: str | Path) -> None:
    """Checks that names can be written to a file of a bank.

    Raises:
        ValueError: If the file is Parquet, whose texts are UTF-8, and a name is not.
    """
    if Path(path).suffix.lower() != ".parquet":
        return
    wrong = [name for name in names if _is_no_utf8(name)]
    if wrong:
        raise ValueError(
            f"{len(wrong)} file name(s) are no UTF-8, which Parquet needs: {printable(wrong[0])}. "
            "Rename the files, or write .npz or a folder."
        )


def _is_no_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


def _write_npz(bank: FeatureBank, path: Path) -> None:
    arrays = {"features": bank[:], "paths": np.array(bank.names)}
    if bank.has_classes:
        arrays |= {"labels": bank.labels, "classes": np.array(bank.classes)}
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays, record=np.array(json.dumps(_record(bank))))


def _read_npz(path: Path) -> FeatureBank:
    try:
        with np.load(path, allow_pickle=False) as file:
            features, names = file["features"], file["paths"]
            record = json.loads(str(file["record"]))
            labels = file["labels"] if "labels" in file else np.zeros(len(features), dtype=np.int64)
    except (*NOT_AN_ARRAY, EOFError, KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    return _bank(path, record, labels, names.tolist(), features)


def _write_parquet(bank: FeatureBank, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    number = pyarrow.from_numpy_dtype(bank.plan["dtype"])
    fields = [("path", pyarrow.string()), ("feature", pyarrow.list_(number, bank.width))]
    if bank.has_classes:
        fields += [("label", pyarrow.int64()), ("class", pyarrow.string())]
    schema = pyarrow.schema(fields, metadata={"mmdino": json.dumps(_record(bank))})
    with (
        atomic_write(path) as partial,
        parquet.ParquetWriter(partial, schema, write_page_checksum=True) as writer,
    ):
        for start in range(0, len(bank), ROWS):
            rows = slice(start, start + ROWS)
            flat = pyarrow.array(np.array(bank[rows]).ravel())
            columns = [
                pyarrow.array(bank.names[rows], pyarrow.string()),
                pyarrow.FixedSizeListArray.from_arrays(flat, bank.width),
            ]
            if bank.has_classes:
                labels = bank.labels[rows]
                columns += [
                    pyarrow.array(labels),
                    pyarrow.array([bank.classes[label] for label in labels], pyarrow.string()),
                ]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))


def _read_parquet(path: Path) -> FeatureBank:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, page_checksum_verification=True, partitioning=None)
        record = json.loads(table.schema.metadata[b"mmdino"])
        column = table["feature"].combine_chunks()
        features = column.flatten().to_numpy().reshape(len(table), -1)
        labels = np.zeros(len(table), dtype=np.int64)
        if "label" in table.column_names:
            labels = table["label"].to_numpy()
        names = table["path"].to_pylist()
    except (KeyError, OSError, TypeError, ValueError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from error
    return _bank(path, record, labels, names, features)


def _write_index(bank: FeatureBank, path: Path) -> None:
    import faiss

    index = faiss.IndexFlatIP(bank.width)
    for start in range(0, len(bank), ROWS):
        block = np.array(bank[start : start + ROWS], dtype=np.float32, order="C")
        faiss.normalize_L2(block)
        index.add(block)
    with atomic_write(path) as partial:
        faiss.write_index(index, str(partial))
    record = {
        "plan": {**bank.plan, UNIT_LENGTH: True},
        "unreadable": bank.unreadable,
        "paths": bank.names,
        "labels": bank.labels.tolist(),
        "crc32": file_crc32(path),
    }
    with atomic_write(sidecar(path)) as partial:
        partial.write_text(json.dumps(record) + "\n")


def _read_index(path: Path) -> FeatureBank:
    record = read_sidecar(path)
    index = read_index(path)
    features = index.reconstruct_n(0, index.ntotal)
    labels = np.array(record["labels"], dtype=np.int64)
    return _bank(path, record, labels, record["paths"], features)


def sidecar(path: Path) -> Path:
    """Returns the file beside an index, which has names and what made it."""
    return path.with_name(path.name + SIDECAR)


def read_sidecar(path: Path) -> dict[str, Any]:
    """Reads the file beside an index.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is damaged, or of another index.
    """
    beside = sidecar(path)
    if not beside.is_file():
        raise FileNotFoundError(
            f"The index {printable(path)} has no file {beside.name} beside it, which has the names "
            "of its images. mmdino embed writes both; move them together."
        )
    try:
        record = json.loads(beside.read_text())
        wanted = record["crc32"]
        if missing := {"plan", "paths", "labels"} - record.keys():
            raise KeyError(", ".join(missing))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(beside, error) from error
    if file_crc32(path) != wanted:
        raise ValueError(
            f"{printable(path)} is not the index that {beside.name} belongs to, since its checksum "
            "is another. Embed the images again, with --overwrite."
        )
    return record


def read_index(path: Path) -> Any:
    """Reads an index of FAISS.

    Raises:
        ValueError: If it is none.
    """
    import faiss

    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise _damaged(path, error) from error


def _record(bank: FeatureBank) -> dict[str, Any]:
    return {"plan": bank.plan, "unreadable": bank.unreadable}


def _bank(
    path: Path, record: Any, labels: np.ndarray, names: list[str], features: np.ndarray
) -> FeatureBank:
    plan = record.get("plan") if isinstance(record, dict) else None
    if (
        not isinstance(plan, dict)
        or not isinstance(plan.get("classes"), list)
        or features.ndim != 2
        or not len(features) == len(labels) == len(names)
        or not len(features)
        or not 0 <= labels.min() <= labels.max() < len(plan["classes"])
    ):
        raise _damaged(path, "features, labels, paths and plan do not belong together")
    unreadable = record.get("unreadable", {})
    return FeatureBank(path, plan, labels, features.shape[1], names, unreadable, features)


def _damaged(path: Path, why: object) -> ValueError:
    return ValueError(
        f"{printable(path)} is damaged, or not written by mmdino embed: {why}. Embed "
        "the images again, with --overwrite."
    )


FORMATS = {
    ".npz": Format(_write_npz, _read_npz),
    ".parquet": Format(_write_parquet, _read_parquet, ("pyarrow", "Parquet", "parquet")),
    ".faiss": Format(_write_index, _read_index, ("faiss", "A FAISS index", "curate")),
}
