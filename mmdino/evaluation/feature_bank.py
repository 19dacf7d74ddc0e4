"""Features of a set of images, saved in a folder.

A bank of N images is a folder with ``features.npy`` (N, D), ``labels.npy`` (N,), ``images.txt``
with the paths of the images, relative to their folder, and ``bank.json``, which records what made
it and the checksums of all of them. Images that could not be read are left out, and listed in
``unreadable.jsonl``. While a bank is being made, the folder holds ``plan.json`` and numbered parts.
``bank.json`` is written last: a folder that has it is complete.
"""

from __future__ import annotations

import json
import os
import tokenize
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from mmdino.datasets.image_list import read_image_list, write_image_list
from mmdino.evaluation.extraction_options import DTYPES
from mmdino.utils.printable import printable

BANK, PLAN, FEATURES, LABELS = "bank.json", "plan.json", "features.npy", "labels.npy"
NAMES, UNREADABLE = "images.txt", "unreadable.jsonl"
NO_CLASSES = ["image"]
"""The one class of images without labels."""
PARTIAL = ".partial"
PART_SIZE = 2048
FORMAT = 1
"""Number of the layout of a bank; one with a larger number was made by a later version."""

MAX_SHOWN = 60
MAX_JSON = 2**26
"""Bytes of a JSON file that are read; a bank's has tens of bytes for each class."""

CHUNK = 2**20
NOT_AN_ARRAY = (
    *(FileNotFoundError, OverflowError, RecursionError, SyntaxError, TypeError, ValueError),
    tokenize.TokenError,
)
"""What NumPy raises of a file whose header it cannot parse."""

BANK_FIELDS = {"images": int, "width": int, "plan": dict}
PLAN_FIELDS = {"command": str, "plan": dict}
COMPARED = ("network_sha256", "network", "size", "crop", "amp")
"""Entries of a plan that must be the same in banks that are compared."""
INFORMATIVE = ("checkpoint",)
"""Entries of a plan that may differ: a renamed file is still identified by the network's hash."""
UNIT_LENGTH = "unit_length"
"""Entry of the plan of a bank whose features were divided by their length."""
NOT_COMPARED = (*INFORMATIVE, UNIT_LENGTH, "loading")


@dataclass(frozen=True)
class FeatureBank:
    """A complete bank. ``bank[rows]`` reads only these features from the file.

    Args:
        folder: Its folder.
        plan: What made it: network, images, sizes.
        labels: Classes (N,), int64.
        width: Width D of a feature.
        names: Paths of the images relative to the plan's ``source``; empty in banks of former
            versions.
        unreadable: Why images could not be read, by name; they are not among the names, except in
            banks of former versions.
        array: The features (N, D), if they are not in a folder.
    """

    folder: Path
    plan: dict[str, Any]
    labels: np.ndarray
    width: int
    names: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    array: np.ndarray | None = None

    def __len__(self) -> int:
        """Returns the number N of images."""
        return len(self.labels)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Returns the features (M, D) of a slice, mapped from the file, or of indices, as a copy.

        The file is mapped anew each time, so that pages read before do not count as memory of the
        process.
        """
        if self.array is not None:
            return self.array[rows]
        return np.load(self.folder / FEATURES, mmap_mode="r", allow_pickle=False)[rows]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, by label."""
        return self.plan["classes"]

    @property
    def has_classes(self) -> bool:
        """Whether the labels are classes of the images."""
        return self.classes != NO_CLASSES


def open_bank(folder: str | Path) -> FeatureBank:
    """Opens a complete bank.

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no bank.
        ValueError: If the bank is not finished, or its files do not match.
    """
    folder = Path(folder)
    if not (folder / BANK).is_file():
        if (folder / PLAN).is_file():
            record = _read_record(folder / PLAN, PLAN_FIELDS)
            raise ValueError(
                f"The feature bank {folder} is not finished. The same command resumes it: "
                f"{record['command']}"
            )
        if folder.is_file():
            raise ValueError(f"{folder} is a file. A feature bank is a folder with {BANK}.")
        raise FileNotFoundError(
            f"There is no feature bank in {folder}. Make one with: "
            f"mmdino embed CHECKPOINT IMAGE_FOLDER {folder}"
        )
    record = _read_record(folder / BANK, BANK_FIELDS)
    found_format = record.get("format", FORMAT)
    if found_format != FORMAT:
        raise ValueError(
            f"The feature bank {folder} has format {found_format}, and this version of mmdino "
            f"reads format {FORMAT}. Use the version that made it, or extract it again, with "
            "--overwrite."
        )
    if fault := _bank_fault(folder, record):
        raise ValueError(
            f"The feature bank {folder} is damaged: {fault}. Extract it again, with --overwrite."
        )
    labels = np.load(folder / LABELS, allow_pickle=False)
    names = read_image_list(folder / NAMES) if (folder / NAMES).is_file() else []
    if names and len(names) != len(labels):
        raise ValueError(
            f"{folder / NAMES} lists {len(names)} images, but the bank has {len(labels)} features. "
            "Extract it again, with --overwrite."
        )
    unreadable = read_unreadable(folder / UNREADABLE)
    return FeatureBank(folder, record["plan"], labels, record["width"], names, unreadable)


def read_unreadable(path: Path) -> dict[str, str]:
    """Reads which images could not be read: reasons by name. An unfinished line is ignored."""
    if not path.is_file():
        return {}
    lines = path.read_text().split("\n")[:-1]
    return {record["image"]: record["reason"] for record in map(json.loads, lines)}


def _bank_fault(folder: Path, record: dict[str, Any]) -> str:
    """Describes what is wrong with a bank; empty if nothing is."""
    plan = record["plan"]
    classes, dtype = plan.get("classes"), plan.get("dtype")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return f"{BANK} has classes {str(classes)[:MAX_SHOWN]}"
    if dtype not in DTYPES:
        return f"{BANK} has dtype {dtype!r}, not one of {', '.join(DTYPES)}"
    if not isinstance(record.get("crc32", {}), dict):
        return f"{BANK} has no valid checksums"
    if min(record["images"], record["width"]) < 1:
        return f"{BANK} promises {record['images']} features of {record['width']} numbers"
    expected = {
        FEATURES: ((record["images"], record["width"]), dtype),
        LABELS: ((record["images"],), "int64"),
    }
    for name, (shape, of_type) in expected.items():
        if fault := _fault(folder / name, shape, of_type):
            return f"{name} {fault}"
    checksums = record.get("crc32", {})  # Banks of former versions have none.
    for name in (BANK, FEATURES, LABELS, NAMES):
        if name not in checksums:
            continue
        if not (folder / name).is_file():
            return f"{name} is missing"
        found = plan_crc32(plan) if name == BANK else file_crc32(folder / name)
        if found != checksums[name]:
            return f"{name} is not what was written, since its checksum is another"
    labels = np.load(folder / LABELS, allow_pickle=False)
    if labels.min() < 0 or labels.max() >= len(classes):
        return (
            f"{LABELS} has labels from {labels.min()} to {labels.max()}, but there are "
            f"{len(classes)} classes"
        )
    return ""


def check_pair(train: FeatureBank, test: FeatureBank) -> None:
    """Checks that images of one bank can be classified with the labels of the other.

    Raises:
        ValueError: If the banks are of different networks, sizes or classes, or of the same images.
    """
    for bank in (train, test):
        needed = (*COMPARED, *INFORMATIVE, "source", "files_sha256")
        if missing := [name for name in needed if name not in bank.plan]:
            raise ValueError(
                f"The feature bank {bank.folder} does not say what made it: {BANK} lacks "
                f"{', '.join(missing)}. Extract it again, with --overwrite."
            )
    for bank in (train, test):
        if not bank.has_classes:
            raise ValueError(
                f"The feature bank {bank.folder} has no classes. Embed a folder with a folder of "
                "images for each class, with --labels folders."
            )
    different = [name for name in COMPARED if train.plan[name] != test.plan[name]]
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

    def finish(
        self,
        labels: np.ndarray,
        names: Sequence[str] = (),
        unreadable: Mapping[str, str] | None = None,
    ) -> FeatureBank:
        """Joins the parts, one at a time in memory, and completes the bank.

        Args:
            labels: Classes of the images.
            names: Paths of the images, relative to the plan's ``source``; none are saved if empty.
            unreadable: Why images could not be read, by name; they are left out.

        Raises:
            ValueError: If no image could be read.
        """
        assert not self.missing_parts(), "all parts must be written first"
        assert len(labels) == self.plan["images"]
        labels = np.asarray(labels, dtype=np.int64)
        unreadable = unreadable or {}
        kept = np.ones(len(labels), dtype=bool)
        if unreadable:
            kept = np.array([name not in unreadable for name in names])
        if not kept.any():
            name, reason = next(iter(unreadable.items()))
            raise ValueError(
                f"None of the {len(labels)} image(s) can be read: "
                f"{printable(Path(self.plan['source'], name))} {reason}. Give other images."
            )
        count, start = int(kept.sum()), 0
        width = _shape(self._part(0))[1]
        with _durable_write(self.folder / FEATURES) as path:
            joined = np.lib.format.open_memmap(
                path, mode="w+", dtype=self.plan["dtype"], shape=(count, width)
            )
            for number, images in self.parts().items():
                part = np.load(self._part(number), allow_pickle=False)
                part = part[kept[images.start : images.stop]]
                joined[start : start + len(part)] = part
                start += len(part)
            joined.flush()
        with _durable_write(self.folder / LABELS) as path, path.open("wb") as file:
            np.save(file, labels[kept])
        files = [FEATURES, LABELS]
        if len(names):
            files.append(NAMES)
            write_image_list(self.folder / NAMES, list(compress(names, kept)))
        checksums = {name: file_crc32(self.folder / name) for name in files}
        record = {
            "format": FORMAT,
            "images": count,
            "width": width,
            "plan": self.plan,
            "crc32": {**checksums, BANK: plan_crc32(self.plan)},
        }
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
        overwrite: Whether to replace a bank that is there. One of the same plan that was started so
            and is not finished goes on, so that the same command resumes it.
        part_size: Images per part, which is what an interruption may lose.

    Returns:
        A writer, or the bank if it is complete.

    Raises:
        ValueError: If the folder holds a bank of another plan, or other files, or is a file.
    """
    folder = Path(folder)
    plan = json.loads(json.dumps(dict(plan)))
    assert plan["dtype"] in DTYPES
    writer = BankWriter(folder, plan, part_size)
    complete = (folder / BANK).is_file()
    if complete or (folder / PLAN).is_file():
        if overwrite and (complete or not _is_overwriting(folder / PLAN, plan)):
            # bank.json first: from here on the folder is no bank.
            for name in (BANK, FEATURES, LABELS, NAMES, UNREADABLE):
                (folder / name).unlink(missing_ok=True)
            writer.clear_parts()
        elif not overwrite:
            name, fields = (BANK, BANK_FIELDS) if complete else (PLAN, PLAN_FIELDS)
            check_same_plan(folder, _read_record(folder / name, fields)["plan"], plan)
            if complete:
                bank = open_bank(folder)
                writer.clear_parts()
                return bank
    elif folder.is_dir() and {path.name for path in folder.iterdir()} - {PLAN + PARTIAL}:
        raise ValueError(
            f"{folder} holds files that are no feature bank. Give an empty or a new folder."
        )
    elif folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file. Give a folder for the feature bank.")
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / PLAN, {"command": command, "plan": plan, "overwrite": overwrite})
    return writer


def _is_overwriting(path: Path, plan: dict) -> bool:
    """Returns whether a call with ``overwrite`` and the same plan started an unfinished bank."""
    try:
        record = _read_record(path, PLAN_FIELDS)
    except ValueError:  # damaged: it is replaced
        return False
    return record.get("overwrite") is True and not _different(record["plan"], plan)


def check_same_plan(folder: Path, found: dict, plan: dict) -> None:
    """Checks that a bank that is there was made as another one would be.

    Raises:
        ValueError: If it was not, with the differences.
    """
    different = _different(found, plan)
    if different:
        raise ValueError(
            f"{folder} holds a feature bank made with other settings: "
            + _differences(found, plan, different, ("there", "now"))
            + ". Give another folder, or add --overwrite to replace it."
        )


def _different(found: dict, plan: dict) -> list[str]:
    """Returns the entries in which two plans differ, of those that are compared."""
    names = [name for name in {**found, **plan} if name not in NOT_COMPARED]
    return [name for name in names if found.get(name) != plan.get(name)]


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


def _mapped(path: Path) -> np.memmap | None:
    """Maps an array in a file, None if the file is missing, incomplete, or of Python objects.

    Nothing is allocated, whatever the header promises.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except NOT_AN_ARRAY:
        return None


def _shape(path: Path) -> tuple[int, ...] | None:
    """Returns the shape of an array in a file, None if there is none."""
    mapped = _mapped(path)
    return None if mapped is None else mapped.shape


def _fault(path: Path, shape: tuple[int | None, ...], dtype: str) -> str:
    """Describes what is wrong with an array in a file; empty if nothing is."""
    if not path.is_file():
        return "is missing"
    found = _mapped(path)
    if found is None:
        return "is cut short or no array"
    if found.shape != shape:
        return f"has shape {found.shape} instead of {shape}"
    if found.dtype != dtype:
        return f"is {found.dtype} instead of {dtype}"
    if excess := path.stat().st_size - found.offset - found.nbytes:
        return f"has {excess} bytes more than its array"
    return ""


def file_crc32(path: Path) -> int:
    """Returns the checksum of a file."""
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def plan_crc32(plan: dict[str, Any]) -> int:
    """Returns the checksum of a plan."""
    return zlib.crc32(json.dumps(plan, sort_keys=True).encode())


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


def _read_record(path: Path, fields: Mapping[str, type]) -> dict[str, Any]:
    """Reads a JSON object, at most ``MAX_JSON`` bytes, with fields of the given types.

    Raises:
        ValueError: If it is anything else.
    """
    fault = ""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON + 1)
        if len(content) > MAX_JSON:
            fault = f"it has more than {MAX_JSON} bytes"
        else:
            record = json.loads(content)
    except (ValueError, RecursionError) as error:
        fault = str(error)
    if not fault and not isinstance(record, dict):
        fault = f"it is a {type(record).__name__}"
    if not fault:
        # bool is an int.
        wrong = [name for name, kind in fields.items() if type(record.get(name)) is not kind]
        fault = f"{', '.join(wrong)} missing or of the wrong type" if wrong else ""
    if fault:
        raise ValueError(
            f"{path} is damaged: {fault}. Remove the folder and extract the features again."
        )
    return record
