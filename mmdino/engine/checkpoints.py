"""The checkpoints in a work dir: which are whole, and which one a run goes on from."""

from __future__ import annotations

import os
import time
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from torch import is_tensor, nn

from mmdino.utils.atomic_write import atomic_write
from mmdino.weights.checks import describe_non_finite, non_finite
from mmdino.weights.files import map_checkpoint, verify_checkpoint

POINTER = "last_checkpoint"
"""File with the path of the newest checkpoint, relative to the work dir. mmengine's name."""

WRITTEN = "written"
"""Key in a checkpoint's ``meta`` of the time when it was written."""


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
    """Newer files that were not taken, each with the reason."""

    def __str__(self) -> str:
        if self.found is None:
            taken = "no whole checkpoint"
        else:
            taken = f"{self.found.path} (iteration {self.found.iteration})"
        return "; ".join([taken, *(f"passed over {reason}" for reason in self.passed_over)])


def newest_checkpoint(work_dir: str | Path, before: int | None = None) -> Search:
    """Finds the newest checkpoint in a work dir that is whole and whose weights are finite.

    The newest is the one written last, and not that of the highest iteration, which may be left
    from an earlier run in the same folder. The file :data:`POINTER` only adds the folder that it
    points to: a killed run may not have written it.

    Args:
        work_dir: Work dir of the run.
        before: Only checkpoints with fewer iterations done than this.
    """
    candidates: list[Checkpoint] = []
    passed_over = []
    for path in _files(Path(work_dir)):
        try:
            candidate = _resumable(path)
        except ValueError as error:
            passed_over.append(str(error))
            continue
        if candidate is not None and (before is None or candidate.iteration < before):
            candidates.append(candidate)
    for candidate in sorted(candidates, key=attrgetter("written", "iteration"), reverse=True):
        reason = _flaw(candidate.path)
        if reason is None:
            return Search(candidate, passed_over)
        passed_over.append(reason)
    return Search(None, passed_over)


def checkpoint_to_resume(work_dir: str | Path) -> Search:
    """Finds the checkpoint that an interrupted run in a work dir goes on from.

    Raises:
        FileNotFoundError: If there is none.
    """
    search = newest_checkpoint(work_dir)
    if search.found is None:
        damaged = "".join(f" {reason}" for reason in search.passed_over)
        raise FileNotFoundError(
            f"There is nothing to resume in {str(work_dir)!r}: it has no whole checkpoint.{damaged}"
            " To start a new run, leave out --resume; to resume from another place, name the file: "
            "--resume CHECKPOINT."
        )
    return search


def write_pointer(work_dir: str | Path, checkpoint: str | Path) -> None:
    """Notes a checkpoint as the newest of a work dir."""
    with atomic_write(Path(work_dir) / POINTER) as partial:
        partial.write_text(os.path.relpath(checkpoint, work_dir))


def non_finite_weights(model: nn.Module) -> list[str]:
    """Returns the names of parameters that are not finite and of buffers with NaN.

    A mask may be a buffer with infinite values.
    """
    broken = non_finite(dict(model.named_parameters()))
    return broken + [name for name, buffer in model.named_buffers() if bool(buffer.isnan().any())]


def _files(work_dir: Path) -> list[Path]:
    """Returns the .pth files of a work dir and of the folder that its pointer names, by name."""
    folders = [work_dir]
    pointer = work_dir / POINTER
    if pointer.is_file():
        # Another out_dir of the checkpoint hook. An empty pointer names the work dir.
        target = (work_dir / pointer.read_text(errors="replace").strip()).parent
        if target.is_dir() and target.resolve() != work_dir.resolve():
            folders.append(target)
    return [path for folder in folders for path in sorted(folder.glob("*.pth")) if path.is_file()]


def _resumable(path: Path) -> Checkpoint | None:
    """Reads what the search needs of a checkpoint; None for a file that no run resumes from.

    Raises:
        ValueError: If the file cannot be read.
    """
    content = map_checkpoint(path)
    meta = content.get("meta")
    if not isinstance(meta, dict) or "optimizer" not in content:
        return None
    iteration = meta.get("iter")
    return Checkpoint(path, iteration, _written(meta)) if isinstance(iteration, int) else None


def _written(meta: dict) -> float:
    """Returns the time in the metadata of a checkpoint, 0 if there is none."""
    if isinstance(meta.get(WRITTEN), float):
        return meta[WRITTEN]
    try:
        # mmengine's local time, in checkpoints that are not of our hook.
        return time.mktime(time.strptime(str(meta.get("time")), "%Y%m%d_%H%M%S"))
    except (ValueError, OverflowError):
        return 0.0


def _flaw(path: Path) -> str | None:
    """Returns why a checkpoint cannot be resumed from, or None."""
    try:
        verify_checkpoint(path)
    except ValueError as error:
        return str(error)
    weights = map_checkpoint(path).get("state_dict")
    if not isinstance(weights, dict) or not weights:
        return f"{path}: it has no weights"
    broken = non_finite({name: value for name, value in weights.items() if is_tensor(value)})
    return f"{path}: {describe_non_finite(broken)}" if broken else None
