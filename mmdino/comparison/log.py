"""What training runs have logged in their work dirs."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCALARS = "*/vis_data/scalars.json"
"""Where mmengine's LocalVisBackend writes, in a folder for each start of a run."""
TAIL = 2**14
"""Bytes at the end of a file in which its last line of training is looked for."""
KNN = "knn/"


@dataclass
class RunLog:
    """The logged values of a run.

    Attributes:
        training: Values of training, by the iterations done.
        validation: Accuracies of k-NN, by the epochs done.
    """

    training: dict[int, dict[str, float]] = field(default_factory=dict)
    validation: dict[int, dict[str, float]] = field(default_factory=dict)


def read_log(folder: Path, starts: Collection[str] | None = None) -> RunLog:
    """Reads the log of a run; what it did again after an interruption counts once.

    Args:
        folder: Its work dir.
        starts: Names of the folders of its starts; all there are if None.
    """
    log = RunLog()
    for path in _scalars(folder, starts):
        for line in path.read_text().splitlines():
            values = _parse(line)
            if "iter" in values:
                log.training[values["iter"]] = values
            elif any(name.startswith(KNN) for name in values):
                log.validation[values["step"]] = values
    return RunLog(dict(sorted(log.training.items())), dict(sorted(log.validation.items())))


def last_iteration(folder: Path, starts: Collection[str] | None = None) -> int:
    """Returns the last logged iteration of the newest start of a run, 0 if there is none.

    Args:
        folder: Its work dir.
        starts: Names of the folders of its starts; all there are if None.
    """
    paths = _scalars(folder, starts)
    if not paths:
        return 0
    with paths[-1].open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    return max((_parse(line).get("iter", 0) for line in lines), default=0)


def last_lines(path: Path, number: int = 5) -> list[str]:
    """Returns the last lines of a text file that are not empty."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-number:]


def _scalars(folder: Path, starts: Collection[str] | None) -> list[Path]:
    """Returns the files of the values of these starts, in order."""
    paths = sorted(folder.glob(SCALARS))
    return [path for path in paths if starts is None or path.parents[1].name in starts]


def _parse(line: str) -> dict[str, Any]:
    """Returns the values of a line; none for one that a killed run has not written to its end."""
    try:
        values = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return values if isinstance(values, dict) else {}
