"""Features of a labelled set of images, saved in a folder.

A bank of N images is a folder with ``features.npy`` (N, D), ``labels.npy`` (N,) and ``bank.json``,
which records what made it. While it is being made, the folder holds ``plan.json`` and numbered
parts. ``bank.json`` is written last, so a folder that has it is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BANK, PLAN, FEATURES, LABELS = "bank.json", "plan.json", "features.npy", "labels.npy"
PARTIAL = ".partial"
PART_SIZE = 2048
DTYPES = ("float32", "float16")
MAX_SHOWN = 60
INFORMATIVE = ("checkpoint",)
"""Entries of a plan that may differ: a renamed file is still identified by the network's hash."""


@dataclass(frozen=True)
class FeatureBank:
    """A complete bank. ``bank[rows]`` reads only these features from the file.

    Args:
        folder: Its folder.
        plan: What made it: network, images, sizes.
        labels: Classes (N,), int64.
        width: Width D of a feature.
    """

    folder: Path
    plan: dict[str, Any]
    labels: np.ndarray
    width: int

    def __len__(self) -> int:
        """Returns the number N of images."""
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the features (M, D) of a slice, mapped from the file, or of indices, as a copy.

        The file is mapped anew each time, so that pages read before do not count as memory of the
        process.
        """
        return np.load(self.folder / FEATURES, mmap_mode="r")[rows]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, by label."""
        return self.plan["classes"]


def open_bank(folder: str | Path) -> FeatureBank:
    """Opens a complete bank.

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no bank.
        ValueError: If the bank is not finished, or its files do not match.
    """
    folder = Path(folder)
    if not (folder / BANK).is_file():
        if (folder / PLAN).is_file():
            record = _read_json(folder / PLAN)
            raise ValueError(
                f"The feature bank {folder} is not finished. The same command resumes it: "
                f"{record['command']}"
            )
        raise FileNotFoundError(
            f"There is no feature bank in {folder}. Make one with: python "
            f"tools/extract_features.py CHECKPOINT IMAGE_FOLDER {folder}"
        )
    record = _read_json(folder / BANK)
    shapes = {FEATURES: (record["images"], record["width"]), LABELS: (record["images"],)}
    for name, shape in shapes.items():
        dtype = record["plan"]["dtype"] if name == FEATURES else "int64"
        fault = _fault(folder / name, shape, dtype)
        if fault:
            raise ValueError(
                f"The feature bank {folder} is damaged: {name} {fault}. Extract it again, with "
                "--overwrite."
            )
    labels = np.load(folder / LABELS)
    return FeatureBank(folder, record["plan"], labels, record["width"])


def check_pair(train: FeatureBank, test: FeatureBank) -> None:
    """Checks that images of one bank can be classified with the labels of the other.

    Raises:
        ValueError: If the banks are of different networks, sizes or classes, or of the same images.
    """
    names = ("network_sha256", "network", "size", "crop", "amp")
    different = [name for name in names if train.plan[name] != test.plan[name]]
    if different or train.width != test.width:
        raise ValueError(
            f"The banks {train.folder} and {test.folder} cannot be compared: "
            + _differences(train.plan, test.plan, different, ("the first", "the second"))
            + f"; widths {train.width} and {test.width}. Extract both with the same checkpoint and "
            "options."
        )
    if train.classes != test.classes:
        only = [
            f"{len(names)} only in {bank.folder} ({', '.join(names[:5])})"
            for bank, other in ((train, test), (test, train))
            if (names := sorted(set(bank.classes) - set(other.classes)))
        ]
        raise ValueError(
            f"The banks have different classes: {'; '.join(only)}. The folders of classes of both "
            "image folders must have the same names."
        )
    if all(train.plan[name] == test.plan[name] for name in ("source", "files_sha256")):
        raise ValueError(
            f"The banks {train.folder} and {test.folder} are of the same images: each would find "
            "itself. Give a bank of other images to test on."
        )


@dataclass(frozen=True)
class BankWriter:
    """Writes a bank part by part; :func:`start_bank` makes one.

    Args:
        folder: The bank's folder.
        plan: What makes the bank.
        part_size: Images per part; the last may have fewer.
    """

    folder: Path
    plan: dict[str, Any]
    part_size: int = PART_SIZE

    def parts(self) -> dict[int, range]:
        """Returns the indices of the images of each part, by its number."""
        total, step = self.plan["images"], self.part_size
        return {
            number: range(start, min(start + step, total))
            for number, start in enumerate(range(0, total, step))
        }

    def missing_parts(self) -> dict[int, range]:
        """Returns the parts that are missing or incomplete."""
        missing, width = {}, None
        for number, images in self.parts().items():
            path = self._part(number)
            shape = _shape(path)
            width = width or (shape[1] if shape and len(shape) == 2 else None)
            if _fault(path, (len(images), width), self.plan["dtype"]):
                missing[number] = images
        return missing

    def write_part(self, number: int, features: np.ndarray) -> None:
        """Writes the features (M, D) of a part atomically.

        Raises:
            ValueError: If a feature is not finite in the bank's precision.
        """
        assert len(features) == len(self.parts()[number])
        with np.errstate(over="ignore"):  # raised below
            narrow = features.astype(self.plan["dtype"])
        if not np.isfinite(narrow).all():
            raise ValueError(
                f"Features of {self.plan['checkpoint']} "
                + (
                    "are too large for float16. Extract them with --dtype float32."
                    if np.isfinite(features).all()
                    else "are not finite. The network has diverged, or --amp overflows."
                )
            )
        with _durable_write(self._part(number)) as path, path.open("wb") as file:
            np.save(file, narrow)

    def finish(self, labels: np.ndarray) -> FeatureBank:
        """Joins the parts, one at a time in memory, and completes the bank.

        Args:
            labels: Classes (N,).
        """
        assert not self.missing_parts(), "all parts must be written first"
        assert len(labels) == self.plan["images"]
        parts = self.parts()
        width = _shape(self._part(0))[1]
        with _durable_write(self.folder / FEATURES) as path:
            joined = np.lib.format.open_memmap(
                path, mode="w+", dtype=self.plan["dtype"], shape=(len(labels), width)
            )
            for number, images in parts.items():
                joined[images.start : images.stop] = np.load(self._part(number))
            joined.flush()
        with _durable_write(self.folder / LABELS) as path, path.open("wb") as file:
            np.save(file, np.asarray(labels, dtype=np.int64))
        record = {"images": len(labels), "width": width, "plan": self.plan}
        _write_json(self.folder / BANK, record)
        self.clear_parts()
        return open_bank(self.folder)

    def clear_parts(self) -> None:
        """Removes the files that only an unfinished bank needs."""
        leftovers = [*self.folder.glob("part_*.npy"), *self.folder.glob(f"*{PARTIAL}")]
        for path in [*leftovers, self.folder / PLAN]:
            path.unlink(missing_ok=True)

    def _part(self, number: int) -> Path:
        return self.folder / f"part_{number:06d}.npy"


def start_bank(
    folder: str | Path,
    plan: Mapping[str, Any],
    command: str,
    overwrite: bool = False,
    part_size: int = PART_SIZE,
) -> BankWriter | FeatureBank:
    """Starts a bank, resumes an unfinished one, or opens a complete one.

    Args:
        folder: The bank's folder; created if missing.
        plan: What makes the bank: ``images`` (N), ``classes``, ``dtype`` and whatever else the
            features depend on, as JSON values.
        command: The command that finishes it, for messages.
        overwrite: Whether to replace a bank of another plan.
        part_size: Images per part, which is what an interruption may lose.

    Returns:
        A writer, or the bank if it is complete.

    Raises:
        ValueError: If the folder holds a bank of another plan, or other files.
    """
    folder = Path(folder)
    plan = json.loads(json.dumps(dict(plan)))
    assert plan["dtype"] in DTYPES
    writer = BankWriter(folder, plan, part_size)
    whole = (folder / BANK).is_file()
    if whole or (folder / PLAN).is_file():
        if overwrite:
            # bank.json first: from here on the folder is no bank.
            for name in (BANK, FEATURES, LABELS):
                (folder / name).unlink(missing_ok=True)
            writer.clear_parts()
        else:
            found = _read_json(folder / (BANK if whole else PLAN))["plan"]
            _check_same_plan(folder, found, plan)
            if whole:
                bank = open_bank(folder)
                writer.clear_parts()
                return bank
    elif folder.is_dir() and {path.name for path in folder.iterdir()} - {PLAN + PARTIAL}:
        raise ValueError(
            f"{folder} holds files that are no feature bank. Give an empty or a new folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / PLAN, {"command": command, "plan": plan})
    return writer


def _check_same_plan(folder: Path, found: dict, plan: dict) -> None:
    names = [name for name in {**found, **plan} if name not in INFORMATIVE]
    different = [name for name in names if found.get(name) != plan.get(name)]
    if different:
        raise ValueError(
            f"{folder} holds a feature bank made with other settings: "
            + _differences(found, plan, different, ("there", "now"))
            + ". Give another folder, or add --overwrite to replace it."
        )


def _differences(first: dict, second: dict, names: list[str], called: tuple[str, str]) -> str:
    lines = []
    for name in [*INFORMATIVE, *names]:
        if first.get(name) == second.get(name):
            continue
        texts = [repr(record.get(name)) for record in (first, second)]
        if max(map(len, texts)) > MAX_SHOWN and "sha256" not in name:
            lines.append(f"{name} differs")
        else:
            lines.append(f"{name} is {texts[0]} {called[0]}, {texts[1]} {called[1]}")
    return "; ".join(lines)


def _shape(path: Path) -> tuple[int, ...] | None:
    """Returns the shape of an array in a file, None if the file is missing or incomplete."""
    try:
        return np.lib.format.open_memmap(path, mode="r").shape
    except (FileNotFoundError, ValueError):
        return None


def _fault(path: Path, shape: tuple[int | None, ...], dtype: str) -> str:
    """Describes what is wrong with an array in a file; empty if nothing is."""
    if not path.is_file():
        return "is missing"
    found = _shape(path)
    if found is None:
        return "is cut short or no array"
    if found != shape:
        return f"has shape {found} instead of {shape}"
    if (found_dtype := np.load(path, mmap_mode="r").dtype) != dtype:
        return f"is {found_dtype} instead of {dtype}"
    return ""


@contextmanager
def _durable_write(path: Path) -> Iterator[Path]:
    """Gives a path to write to, and renames it to ``path`` once its content is on the disk."""
    partial = path.with_name(path.name + PARTIAL)
    yield partial
    _sync(partial)
    os.replace(partial, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    # Windows cannot open folders.
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_json(path: Path, content: dict) -> None:
    with _durable_write(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove the folder and extract the features again."
        ) from error
