"""Files that list images and their classes."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Sequence

from mmengine import fileio

from mmdino.utils.printable import printable

LARGEST_LABEL = 2**31 - 1


def read_annotations(
    path: str, with_label: bool, classes: Sequence[str] | None = None
) -> list[tuple[str, int | None]]:
    """Reads a file with one image a line.

    Args:
        path: Path or address of the file.
        with_label: Whether the class index follows the name, after a space or a tab.
        classes: Names of the classes, if known.

    Returns:
        Names and labels, None without labels. Blank lines are skipped.

    Raises:
        ValueError: If the file lists nothing, or a line has no valid label.
    """
    # As the names of files are read, so that those that are no UTF-8 can be listed.
    text = os.fsdecode(fileio.get(path).removeprefix(BOM_UTF8))
    rows = []
    # Not splitlines, which also splits at characters that names may have.
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line:
            continue
        if not with_label:
            rows.append((line, None))
            continue
        name, _, label = line.replace("\t", " ").rpartition(" ")
        # The name may have tabs of its own.
        name = line[: len(name)].rstrip()
        if not name or not is_label(label, classes):
            allowed = f"0 to {len(classes) - 1}" if classes else "at least 0"
            raise ValueError(
                f"Line {number} of the annotation file {path!r} is {printable(line)!r}: expected "
                f"'file class', where class is an integer, {allowed}, after a space or a tab. Set "
                "with_label=False for a file without classes."
            )
        rows.append((name, int(label)))
    if not rows:
        raise ValueError(
            f"The annotation file {path!r} lists no image. Its lines are 'file class'."
        )
    return rows


def describe_repeated(rows: Sequence[tuple[str, int | None]]) -> str:
    """Says how many lines repeat an image, and how many of them with another label; "" if none."""
    labels: dict[str, int | None] = {}
    repeated, contradicting = [], []
    for name, label in rows:
        if name in labels:
            repeated.append(name)
            if labels[name] != label:
                contradicting.append(name)
        labels.setdefault(name, label)
    if not repeated:
        return ""
    example = printable((contradicting or repeated)[0])
    return (
        f"{len(repeated)} of {len(rows)} lines repeat an image, {len(contradicting)} of them with "
        f"another label ({example})"
    )


def is_label(text: str, classes: Sequence[str] | None = None) -> bool:
    """Returns whether a text is a class index, below the number of classes if they are known."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_LABEL))):
        return False
    return int(text) <= (len(classes) - 1 if classes else LARGEST_LABEL)
