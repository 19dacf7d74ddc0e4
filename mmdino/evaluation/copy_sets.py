"""Sets of images and copies of them: Copydays (Jegou et al. 2008), and lists like DISC21's."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdino.datasets.folder_listing import LeftOut
from mmdino.datasets.folder_listing import list_images as list_below
from mmdino.utils.printable import printable
from mmdino.visualization.media import IMAGE_SUFFIXES, list_images

ORIGINAL, STRONG = "original", "strong"
PREFIX = 4
"""First characters of a name that a strong copy shares with its original."""
NESTED = ("jpegqual", "crops")
"""Folders with a folder for each strength."""
LAYOUT = "ROOT/original/*.jpg, ROOT/strong/*.jpg, ROOT/jpegqual/3/*.jpg, ROOT/crops/10/*.jpg, ..."
HEADER = ("query_id", "reference_id")


@dataclass(frozen=True)
class CopyBlock:
    """Copies of one kind.

    Args:
        images: The copies.
        originals: For each the indices of its originals, at least one.
    """

    images: list[Path]
    originals: list[list[int]]


@dataclass(frozen=True)
class Copydays:
    """Originals and blocks of copies by name, such as ``strong`` or ``jpegqual/3``."""

    originals: list[Path]
    blocks: dict[str, CopyBlock]


def read_copydays(root: Path, names: Sequence[str] | None = None) -> Copydays:
    """Lists a set in the layout of Copydays.

    Args:
        root: Its folder.
        names: The blocks to use; None for all that are there but the originals themselves.

    Raises:
        FileNotFoundError: If a folder is missing or has no images.
        ValueError: If a copy has no original.
    """
    if not (root / ORIGINAL).is_dir():
        raise FileNotFoundError(
            f"{printable(root / ORIGINAL)} does not exist. The layout is {LAYOUT}."
        )
    originals = list_images(root / ORIGINAL)
    names = _blocks_of(root) if names is None else names
    if not names:
        raise FileNotFoundError(
            f"{printable(root)} has no block of copies. The layout is {LAYOUT}."
        )
    return Copydays(originals, {name: _block(root / name, name, originals) for name in names})


def _blocks_of(root: Path) -> list[str]:
    nested = [
        f"{kind}/{folder.name}"
        for kind in NESTED
        if (root / kind).is_dir()
        for folder in sorted((root / kind).iterdir(), key=lambda path: (len(path.name), path.name))
        if folder.is_dir()
    ]
    return [STRONG, *nested] if (root / STRONG).is_dir() else nested


def _block(folder: Path, name: str, originals: Sequence[Path]) -> CopyBlock:
    length = PREFIX if name == STRONG else None
    by_name = defaultdict(list)
    for index, original in enumerate(originals):
        by_name[original.stem[:length]].append(index)
    images = list_images(folder)
    for image in images:
        if image.stem[:length] not in by_name:
            shared = f"the same first {length} characters" if length else "the same name"
            raise ValueError(
                f"{printable(image)} is a copy of no image in {printable(originals[0].parent)}: "
                f"none has {shared}. Remove it, or add its original."
            )
    return CopyBlock(images, [by_name[image.stem[:length]] for image in images])


def images_below(folder: Path, most: int | None = None) -> list[Path]:
    """Lists the images below a folder at any depth, in the order of their names.

    Args:
        folder: The folder.
        most: Number of first images to use; None for all.

    Raises:
        FileNotFoundError: If the folder is missing or has no images.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {printable(folder)!r} does not exist.")
    names = list_below(str(folder), IMAGE_SUFFIXES, LeftOut())
    if not names:
        raise FileNotFoundError(
            f"The folder {printable(folder)!r} has no image with one of the suffixes "
            f"{', '.join(IMAGE_SUFFIXES)}, at any depth."
        )
    return [folder / name for name in names[:most]]


def read_pairs(
    path: Path, queries: Sequence[Path], references: Sequence[Path]
) -> set[tuple[int, int]]:
    """Reads which query is a copy of which reference.

    Args:
        path: CSV with the columns ``query_id`` and ``reference_id``: names of images without
            suffix. A row without reference says that the query is a copy of none.
        queries: The query images.
        references: The reference images.

    Returns:
        Pairs of indices of queries and references.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has not these columns, names another image, or pairs none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"The ground truth {printable(path)!r} does not exist.")
    known = [_by_stem(images) for images in (queries, references)]
    pairs = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            if not set(HEADER) <= set(columns):
                raise ValueError(f"its first line is {','.join(columns)!r}")
            for row in reader:
                query, reference = (str(row[name] or "").strip() for name in HEADER)
                if reference:
                    pairs.add((_index(query, known[0]), _index(reference, known[1])))
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"The ground truth {printable(path)!r} cannot be used: {error}. Expected a CSV whose "
            f"first line is {','.join(HEADER)}, with names of images without suffix."
        ) from error
    if not pairs:
        raise ValueError(f"The ground truth {printable(path)!r} pairs no query with a reference.")
    return pairs


def _by_stem(images: Sequence[Path]) -> dict[str, int]:
    found = {path.stem: index for index, path in enumerate(images)}
    if len(found) < len(images):
        twice = next(p for index, p in enumerate(images) if found[p.stem] != index)
        raise ValueError(
            f"Two images have the name {printable(twice.stem)!r}, and the ground truth names "
            "images without folder and suffix. Rename one."
        )
    return found


def _index(name: str, known: dict[str, int]) -> int:
    if name not in known:
        raise ValueError(f"it names {printable(name)!r}, and no image is called so")
    return known[name]
