"""The checkpoints in a work dir: which are whole, and which one a run goes on from."""

from __future__ import annotations

import math
import os
import time
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from torch import is_tensor, nn

from mmdino.engine.optimizer_state import optimizer_tensors
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable
from mmdino.weights.checks import describe_non_finite, non_finite
from mmdino.weights.files import map_checkpoint, verify_checkpoint

POINTER = "last_checkpoint"
"""File with the path of the newest checkpoint, relative to the work dir. mmengine's name."""

WRITTEN = "written"
"""Key in a checkpoint's ``meta`` of the time when it was written."""

NUM_IMAGES = "num_images"
"""Key in a checkpoint's ``meta`` of the size of the data set that it was trained on."""

MAX_POINTER = 4096
"""Bytes of the pointer that are read; no path is longer."""


class Checkpoint(NamedTuple):
    """A file that a run can resume from."""

    path: Path
    iteration: int
    """Iterations done when it was written."""
    written: float
    """When it was written, in seconds since the epoch of time."""


class Search(NamedTuple):
    """What a search for a checkpoint found."""

    found: Checkpoint | None
    passed_over: list[str]
    """Files that were not taken, each with the reason."""

    def __str__(self) -> str:
        taken = "none"
        if self.found is not None:
            taken = f"{self.found.path} (iteration {self.found.iteration})"
        passed_over = [f"passed over {reason.rstrip('.')}" for reason in self.passed_over]
        return printable("; ".join([taken, *passed_over]))


def newest_checkpoint(work_dir: str | Path, before: int | None = None) -> Search:
    """Finds the newest checkpoint in a work dir that is whole, with finite weights and moments.

    The newest is the one written last, and not that of the highest iteration, which may be left
    from an earlier run in the same folder. The file :data:`POINTER` only adds the folder that it
    points to: a killed run may not have written it.

    Args:
        work_dir: Work dir of the run.
        before: Only checkpoints with fewer iterations done than this.
    """
    candidates, passed_over = _candidates(Path(work_dir))
    candidates = [c for c in candidates if before is None or c.iteration < before]
    candidates.sort(key=attrgetter("written", "iteration"), reverse=True)
    for number, found in enumerate(candidates, start=1):
        reason = _flaw(found.path)
        if reason is None:
            further = [
                f"{other.path}: iteration {other.iteration}, but written earlier"
                for other in candidates[number:]
                if other.iteration > found.iteration
            ]
            return Search(found, passed_over + further)
        passed_over.append(reason)
    return Search(None, passed_over)


def next_time(work_dir: str | Path) -> float:
    """Returns the time to note in the next checkpoint of a work dir, in seconds since the epoch.

    It is later than that of all others there, also where the clock was set back.
    """
    candidates, _ = _candidates(Path(work_dir))
    newest = max((candidate.written for candidate in candidates), default=0.0)
    return max(time.time(), math.nextafter(newest, math.inf))


def checkpoint_to_resume(work_dir: str | Path) -> Search:
    """Finds the checkpoint that an interrupted run in a work dir goes on from.

    Raises:
        FileNotFoundError: If there is none.
    """
    search = newest_checkpoint(work_dir)
    if search.found is None:
        damaged = "".join(f" {printable(reason)}" for reason in search.passed_over)
        raise FileNotFoundError(
            f"There is nothing to resume in {str(Path(work_dir).absolute())!r}: it has no whole "
            f"checkpoint.{damaged}"
            " To start a new run, leave out --resume; to resume from another place, name the file: "
            "--resume CHECKPOINT."
        )
    return search


def write_pointer(work_dir: str | Path, checkpoint: str | Path) -> None:
    """Notes a checkpoint as the newest of a work dir."""
    with atomic_write(Path(work_dir) / POINTER) as partial:
        partial.write_bytes(os.fsencode(os.path.relpath(checkpoint, work_dir)))


def non_finite_weights(model: nn.Module) -> list[str]:
    """Returns the names of parameters that are not finite and of buffers with NaN.

    A mask may be a buffer with infinite values.
    """
    broken = non_finite(dict(model.named_parameters()))
    return broken + [name for name, buffer in model.named_buffers() if bool(buffer.isnan().any())]


def _candidates(work_dir: Path) -> tuple[list[Checkpoint], list[str]]:
    """Returns what may be resumed from, and why other files cannot be read."""
    candidates, unreadable = [], []
    for path in _files(work_dir):
        try:
            candidate = _resumable(path)
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
        else:
            candidates += [] if candidate is None else [candidate]
    return candidates, unreadable


def _files(work_dir: Path) -> list[Path]:
    """Returns what is named .pth in a work dir and in the folder that its pointer names."""
    found = sorted(work_dir.glob("*.pth"))
    pointer = work_dir / POINTER
    # Unlike Path's methods, those of os.path accept names that no file can have.
    if not os.path.isfile(pointer):
        return found
    with pointer.open("rb") as file:
        target = Path(os.fsdecode(file.read(MAX_POINTER).strip()))
    # An absolute one is mmengine's, and leads from a copied work dir to the original.
    if target.is_absolute() and found:
        return found
    folder = work_dir / target.parent
    if not os.path.isdir(folder) or folder.resolve() == work_dir.resolve():
        return found
    return found + sorted(folder.glob("*.pth"))


def _resumable(path: Path) -> Checkpoint | None:
    """Reads what the search needs of a checkpoint; None for a file that no run resumes from.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it cannot be understood.
    """
    content = map_checkpoint(path)
    meta = content.get("meta")
    if not isinstance(meta, dict) or "optimizer" not in content:
        return None
    iteration = meta.get("iter")
    if type(iteration) is not int or iteration < 0:
        raise ValueError(f"{path}: its meta.iter is no number of iterations")
    return Checkpoint(path, iteration, _written(meta))


def _written(meta: dict) -> float:
    """Returns the time in the metadata of a checkpoint, 0 if there is none."""
    written = meta.get(WRITTEN)
    if isinstance(written, float) and math.isfinite(written):
        return written
    try:
        # mmengine's local time, in checkpoints that are not of our hook.
        return time.mktime(time.strptime(str(meta.get("time")), "%Y%m%d_%H%M%S"))
    except (ValueError, OverflowError):
        return 0.0


def _flaw(path: Path) -> str | None:
    """Returns why a checkpoint cannot be resumed from, or None."""
    try:
        verify_checkpoint(path)
    except (OSError, ValueError) as error:
        return str(error)
    content = map_checkpoint(path)
    weights = content.get("state_dict")
    if not isinstance(weights, dict) or not weights:
        return f"{path}: it has no weights"
    tensors = {name: value for name, value in weights.items() if is_tensor(value)}
    broken = non_finite(tensors | optimizer_tensors(content["optimizer"]))
    return f"{path}: {describe_non_finite(broken)}" if broken else None
