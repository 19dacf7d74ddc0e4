"""Listing of the images below a folder, with a word about all that is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from mmdino.utils.printable import printable

MAX_EXAMPLES = 3

OTHER_EXTENSIONS = "other extensions"
DANGLING = "dangling links"
HIDDEN = "hidden images"
HIDDEN_FOLDERS = "hidden folders"
SPECIAL = "neither files nor folders"
REPEATED = "links that repeat a folder or make a loop"
UNREADABLE = "folders that cannot be read"
OUTSIDE = "images outside of the class folders"


@dataclass
class LeftOut:
    """Counts and first names of what a listing leaves out, by reason and by extension."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str, extension: str = "") -> None:
        """Counts a name, relative to the folder."""
        self.counts[reason, extension] += 1
        examples = self.examples.setdefault((reason, extension), [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(printable(name))

    def __str__(self) -> str:
        kinds: dict[str, list[str]] = {}
        for (reason, extension), names in sorted(self.examples.items()):
            more = ", ..." if self.counts[reason, extension] > len(names) else ""
            prefix = ""
            if reason == OTHER_EXTENSIONS:
                prefix = f"{printable(extension) or 'none'}: "
            kinds.setdefault(reason, []).append(prefix + ", ".join(names) + more)
        parts = [
            f"{reason}: {sum(n for (other, _), n in self.counts.items() if other == reason)} "
            f"({'; '.join(listed)})"
            for reason, listed in kinds.items()
        ]
        return f"{self.counts.total()} left out: {', '.join(parts)}"


def list_images(
    root: str, extensions: Sequence[str], left_out: LeftOut, top: str = ""
) -> list[str]:
    """Lists the images below a folder at any depth, each folder once.

    Links to files and folders are followed, but not to a folder that is listed already or that
    contains the listed ones, so that loops end. Hidden folders below ``top`` are not listed: a
    desktop keeps its thumbnails and its waste there.

    Args:
        root: Folder that names are relative to.
        extensions: Extensions of images, in lower case.
        left_out: Collects the files and folders that are left out.
        top: Folder below ``root`` to list, relative to it; it may be hidden.

    Returns:
        Names relative to ``root`` in ascending order.

    Raises:
        OSError: If the folder ``top`` itself cannot be read.
    """
    names: list[str] = []
    seen = {_identity(folder) for folder in _containing(root, top)}
    folders, links = [top], []
    # Real folders come first, so that images have the names of those and not of links to them.
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        path = os.path.join(root, folder)
        try:
            identity = _identity(path)
            if identity in seen:
                left_out.add(REPEATED, folder)
                continue
            seen.add(identity)
            entries = _entries(path)
        except OSError:
            if folder == top:
                raise
            left_out.add(UNREADABLE, folder)
            continue
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if _is_folder(entry) and _is_hidden(entry):
                left_out.add(HIDDEN_FOLDERS, name)
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(name)
            elif reason := _why_left_out(entry, extensions):
                left_out.add(reason, name, PurePath(name).suffix.lower())
            elif _is_image(entry, extensions):
                names.append(name)
    return sorted(names)


def list_classes(root: str, extensions: Sequence[str], left_out: LeftOut) -> list[str]:
    """Lists the folders directly below a folder that are not hidden, in ascending order.

    Args:
        root: The folder.
        extensions: Extensions of images, in lower case.
        left_out: Gets the hidden folders, and the images and dangling links beside the folders.
    """
    classes = []
    for entry in _entries(root):
        if _is_folder(entry) and _is_hidden(entry):
            left_out.add(HIDDEN_FOLDERS, entry.name)
        elif _is_folder(entry):
            classes.append(entry.name)
        elif _is_image(entry, extensions):
            left_out.add(_why_left_out(entry, extensions) or OUTSIDE, entry.name)
    return classes


def _containing(root: str, top: str) -> list[Path]:
    """Returns the folders that contain ``root`` or its folder ``top``, other than the latter."""
    folders = [*Path(root).resolve().parents, *Path(root, top).resolve().parents]
    return [*folders, Path(root)] if top else folders


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_hidden(entry: os.DirEntry) -> bool:
    return entry.name.startswith(".")


def _is_image(entry: os.DirEntry, extensions: Sequence[str]) -> bool:
    return entry.name.lower().endswith(tuple(extensions))


def _why_left_out(entry: os.DirEntry, extensions: Sequence[str]) -> str | None:
    """Returns why an entry that is no folder is left out, None if it is not or needs no word."""
    if _is_hidden(entry):
        return HIDDEN if _is_image(entry, extensions) else None
    try:
        is_file = entry.is_file()
    except OSError:
        is_file = False
    if not is_file:
        # Those that exist are pipes, sockets and devices.
        return SPECIAL if os.path.exists(entry.path) else DANGLING
    return None if _is_image(entry, extensions) else OTHER_EXTENSIONS
