"""Files that list images, one path a line, relative to a folder."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Sequence
from pathlib import Path

from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable

MAX_NAMED = 5


def read_image_list(path: str | Path) -> list[str]:
    """Reads a list in its order. Blank lines are skipped, spaces of a name are kept.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it lists nothing, or a path is absolute or leads out of the folder.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"The list of images {printable(path)!r} does not exist, or is no file. Its lines are "
            "paths relative to the image folder."
        )
    names = []
    # As the names of files are read, so that those that are no UTF-8 can be listed.
    for number, line in enumerate(
        os.fsdecode(Path(path).read_bytes().removeprefix(BOM_UTF8)).split("\n"), 1
    ):
        name = line.removesuffix("\r")
        if not name.strip():
            continue
        if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise ValueError(
                f"Line {number} of the list {printable(path)!r} is {printable(name)!r}: expected a "
                "path relative to the image folder, and in it."
            )
        names.append(name)
    if not names:
        raise ValueError(
            f"The list {printable(path)!r} has no image. Its lines are paths relative to the image "
            "folder."
        )
    return names


def check_listed_files(names: Sequence[str], folder: str, path: str | Path) -> None:
    """Checks that all listed files exist.

    Raises:
        FileNotFoundError: If some do not; names the first.
    """
    missing = [name for name in names if not os.path.isfile(os.path.join(folder, name))]
    if missing:
        more = ", ..." if len(missing) > MAX_NAMED else ""
        raise FileNotFoundError(
            f"{len(missing)} of {len(names)} files of the list {printable(path)!r} are not in "
            f"{printable(folder)!r}: {', '.join(map(printable, missing[:MAX_NAMED]))}{more}. Set "
            "data_root to the folder that the list was made for."
        )


def check_listable(names: Sequence[str]) -> None:
    """Checks that names can be lines of a list.

    Raises:
        ValueError: If one has a line break, or is blank.
    """
    wrong = [name for name in names if "\n" in name or name.endswith("\r") or not name.strip()]
    if wrong:
        raise ValueError(
            f"{len(wrong)} file name(s) have a line break, so that no list can hold them: "
            f"{', '.join(map(printable, wrong[:MAX_NAMED]))}. Rename the files."
        )


def write_image_list(path: str | Path, names: Sequence[str]) -> None:
    """Writes a list that :func:`read_image_list` reads.

    Raises:
        ValueError: If a name cannot be a line.
    """
    check_listable(names)
    with atomic_write(path) as partial:
        partial.write_bytes(b"".join(os.fsencode(f"{name}\n") for name in names))
