"""Whether methods can be compared: what differs between their configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdino.comparison.methods import Method, untransformed

COMPARED = (
    "val_dataloader.dataset",
    "val_cfg.bank_dataloader.dataset",
    "val_cfg.fp16",
    "val_evaluator",
)
"""What all configs must have in common for their k-NN accuracies to be comparable."""
MISSING = "nothing"
LONGEST_VALUE = 60


def require_same_validation(methods: Sequence[Method]) -> None:
    """Checks that all methods are validated on the same images in the same way.

    Raises:
        ValueError: If they are not, with what differs.
    """
    first, *others = methods
    for other in others:
        differing = differences(_validation(first), _validation(other))
        if differing:
            raise ValueError(
                f"{first.name} and {other.name} are not validated in the same way, so their k-NN "
                f"accuracies cannot be compared: {in_words(differing, first.name, other.name)}. "
                "Give both the same with --cfg-options."
            )


def training_data_notes(methods: Sequence[Method]) -> list[str]:
    """Returns a line for each method that does not train on the images of the first."""
    first, *others = methods
    notes = []
    for other in others:
        data = [untransformed(m.cfg.train_dataloader.to_dict()["dataset"]) for m in (first, other)]
        if differing := differences(*data, "train_dataloader.dataset"):
            notes.append(
                f"{first.name} and {other.name} do not train on the same images: "
                f"{in_words(differing, first.name, other.name)}."
            )
    return notes


def differences(first: Any, second: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Returns where two nested configs differ: path, and the value of each.

    What one of them lacks counts as "nothing".
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        found = []
        for key in sorted({*first, *second}, key=str):
            values = (first.get(key, MISSING), second.get(key, MISSING))
            found += differences(*values, f"{path}.{key}".lstrip("."))
        return found
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        if len(first) == len(second):
            pairs = enumerate(zip(first, second, strict=True))
            return [row for i, pair in pairs for row in differences(*pair, f"{path}.{i}")]
        return [(path, first, second)]
    return [] if first == second else [(path, first, second)]


def in_words(found: Sequence[tuple[str, Any, Any]], first: str, second: str) -> str:
    """Returns up to three differences in words."""
    parts = [f"{path} is {_short(a)} in {first}, {_short(b)} in {second}" for path, a, b in found]
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return "; ".join(parts[:3]) + more


def _short(value: Any) -> str:
    text = value if value is MISSING else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."


def _validation(method: Method) -> dict[str, Any]:
    cfg = method.cfg.to_dict()
    found = {}
    for path in COMPARED:
        value: Any = cfg
        for key in path.split("."):
            value = value.get(key, False if key == "fp16" else MISSING)
        found[path] = value
    return found
