"""Tables that list images: CSV with a header, and Parquet."""

from __future__ import annotations

import csv
import io
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mmdino.datasets.annotation_file import is_label
from mmdino.utils.dependencies import import_optional
from mmdino.utils.printable import printable

CSV = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "img_path"),
)
LABEL_COLUMNS = ("label", "class", "target", "gt_label", "class_name")


def is_table(path: str | Path) -> bool:
    """Returns whether a list is a table, by its suffix."""
    return Path(path).suffix.lower() in (*CSV, *PARQUET)


def read_image_table(
    path: str | Path,
    folder: str,
    path_column: str | None = None,
    label_column: str | None = None,
    with_label: bool = False,
) -> tuple[list[str], list[str] | None]:
    """Reads the paths of a table, and its labels as text, in its order.

    Args:
        path: The table, with suffix .csv or .tsv (UTF-8, a header, separated by commas or tabs), or
            .parquet or .pq.
        folder: Folder that the paths are relative to; an absolute path in it is taken too.
        path_column: Column of the paths. If None, the only column with a usual name such as "path".
        label_column: Column of the labels, likewise.
        with_label: Whether to read labels.

    Returns:
        Paths relative to the folder, and labels, None without.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If it is Parquet and pyarrow is not installed.
        ValueError: If it is damaged or has no row, if a column is missing or more than one might be
            meant, or if a path is empty, or leads out of the folder.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"The list of images {printable(path)!r} does not exist, or is no file."
        )
    is_parquet = Path(path).suffix.lower() in PARQUET
    columns = _ParquetColumns(path) if is_parquet else _csv_columns(path)
    chosen = _column(path, columns, "path_column", path_column, PATH_COLUMNS)
    names = columns[chosen]
    if not names:
        raise ValueError(f"The list {printable(path)!r} has no row below its header.")
    # The header is line 1 of a CSV.
    first = 1 if is_parquet else 2
    names = [_in_folder(name, folder, path, row) for row, name in enumerate(names, first)]
    if not with_label:
        return names, None
    label = columns[_column(path, columns, "label_column", label_column, LABEL_COLUMNS)]
    return names, ["" if value is None else str(value) for value in label]


def classes_of(labels: Sequence[str], classes: Sequence[str] | None, path: str) -> list[int]:
    """Returns class indices of labels that are indices, or names of ``classes``.

    Args:
        labels: Labels as text.
        classes: Names of the classes; if None, labels must be indices.
        path: The table, for messages.

    Raises:
        ValueError: If a label is neither.
    """
    indices = {name: index for index, name in enumerate(classes or ())}
    wrong = sorted({x for x in labels if x not in indices and not is_label(x, classes)})
    if wrong:
        largest = len(indices) - 1
        allowed = f"0 to {largest}, or one of the classes" if classes else "at least 0"
        raise ValueError(
            f"The list {printable(path)!r} has the label {printable(wrong[0])!r}: expected an "
            f"integer, {allowed}. Where no label is a number, labels are names of classes."
        )
    return [indices[label] if label in indices else int(label) for label in labels]


def are_names(labels: Sequence[str]) -> bool:
    """Returns whether no label is blank or a number, so that all are names of classes."""
    return not any(not label.strip() or _is_number(label) for label in labels)


class _ParquetColumns(Mapping[str, list]):
    """Columns of a Parquet file, of which only those asked for are read."""

    def __init__(self, path: str | Path) -> None:
        parquet = import_optional("pyarrow.parquet", "A list in Parquet", "parquet")
        self.arrow = import_optional("pyarrow", "A list in Parquet", "parquet")
        self.path = path
        try:
            self.file = parquet.ParquetFile(path)
        except self.arrow.ArrowInvalid as error:
            raise ValueError(f"The list {printable(path)!r} is no Parquet file: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.file.schema_arrow.names)

    def __len__(self) -> int:
        return len(self.file.schema_arrow.names)

    def __getitem__(self, name: str) -> list:
        try:
            return self.file.read(columns=[name])[name].to_pylist()
        except (self.arrow.ArrowInvalid, OSError) as error:
            raise ValueError(f"The list {printable(self.path)!r} is damaged: {error}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _csv_columns(path: str | Path) -> dict[str, list[str]]:
    try:
        text = Path(path).read_bytes().removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The list {printable(path)!r} is not UTF-8 (byte {error.start}). Save it as UTF-8; a "
            "text file of one path a line may have any names."
        ) from error
    delimiter = "\t" if Path(path).suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, *rows = [row for row in reader if row] or [[]]
    except csv.Error as error:
        raise ValueError(
            f"Line {reader.line_num} of the list {printable(path)!r} is no CSV: {error}."
        ) from error
    header = [name.strip() for name in header]
    if not any(header):
        raise ValueError(
            f"The list {printable(path)!r} is empty. Its first line has the names of the columns, "
            "such as 'path,label'."
        )
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(
            f"The list {printable(path)!r} has more than one column {printable(repeated[0])!r}."
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(
                f"Row {number} of the list {printable(path)!r} has {len(row)} field(s), its header "
                f"{len(header)}. A path with a {delimiter!r} must be in double quotes."
            )
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _column(
    path: str | Path,
    columns: Mapping[str, list],
    argument: str,
    wanted: str | None,
    usual: Sequence[str],
) -> str:
    there = ", ".join(map(printable, columns))
    if wanted is not None:
        if wanted not in columns:
            raise ValueError(
                f"The list {printable(path)!r} has no column {argument}={wanted!r}. Its columns "
                f"are: {there}."
            )
        return wanted
    found = [name for name in columns if name.lower() in usual]
    if len(found) == 1:
        return found[0]
    problem = f"more than one of {', '.join(found)}" if found else "no column of a usual name"
    raise ValueError(
        f"The list {printable(path)!r} has {problem}. Set {argument} of ImageFolder to one of its "
        f"columns: {there}."
    )


def _in_folder(name: object, folder: str, path: str | Path, row: int) -> str:
    """Returns a path relative to a folder.

    Raises:
        ValueError: If it is no path in the folder.
    """
    if isinstance(name, str) and name.strip() and "\0" not in name:
        relative = os.path.relpath(name, folder) if os.path.isabs(name) else os.path.normpath(name)
        if relative.split(os.sep)[0] != os.pardir:
            return relative if os.path.isabs(name) else name
    shown = printable(name) if isinstance(name, str) else name
    raise ValueError(
        f"Row {row} of the list {printable(path)!r} has the path {shown!r}: expected a path in the "
        f"image folder {printable(folder)!r}, and relative to it. Set data_root to a folder that "
        "holds all images."
    )
