"""The JSON file of numbers that a tool continues from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmdino.utils.atomic_write import atomic_write


def read_record(path: Path) -> dict[str, Any]:
    """Reads a record; an empty dict if there is none.

    Raises:
        ValueError: If it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: {error}. Remove it to compute everything again."
        ) from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} is no record of this tool: give another --out.")
    return record


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Writes a record, atomically."""
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
