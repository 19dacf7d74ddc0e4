"""The record of a run: what was planned, its state, what it used and what was measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mmdino.comparison.plan import Run, changed
from mmdino.comparison.process import Usage
from mmdino.utils.atomic_write import atomic_write

FILE = "result.json"

State = Literal["planned", "training", "trained", "failed"]


@dataclass
class Record:
    """What is kept of a run in its folder, as :data:`FILE`.

    Attributes:
        digest: SHA-256 of ``content``.
        content: What decides the result of the run, from :attr:`Run.content`.
        command: Command that trained it.
        state: Whether it has been trained.
        machine: Where it was trained.
        attempts: What each start of the run has used.
        error: Why it failed.
        measured: What was measured of its last checkpoint: ``parameters``, ``linear_top1`` ...
    """

    digest: str
    content: dict[str, Any]
    command: list[str] = field(default_factory=list)
    state: State = "planned"
    machine: str = ""
    attempts: list[dict[str, float]] = field(default_factory=list)
    error: str = ""
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def usage(self) -> Usage:
        """What all starts together have used."""
        attempts = [Usage(**attempt) for attempt in self.attempts]
        return Usage(
            sum(attempt.elapsed_s for attempt in attempts),
            sum(attempt.processor_s for attempt in attempts),
            max((attempt.memory_mib for attempt in attempts), default=0.0),
        )


def open_record(run: Run) -> Record:
    """Reads the record of a run, or begins one.

    Raises:
        ValueError: If the folder has a run of another plan, with what differs, or a record that
            cannot be read.
    """
    path = run.folder / FILE
    content = run.content
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if not path.is_file():
        return Record(digest, content)
    try:
        record = Record(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Remove the folder {str(run.folder)!r} to train the "
            "run again."
        ) from error
    if record.digest != digest:
        raise ValueError(
            f"{str(run.folder)!r} has a run of another plan: {changed(record.content, run)}. "
            "Choose another folder with --out, or remove that one."
        )
    return record


def save_record(run: Run, record: Record) -> None:
    """Writes the record of a run, atomically."""
    with atomic_write(run.folder / FILE) as partial:
        partial.write_text(json.dumps(asdict(record), indent=1) + "\n")
