"""Comparison of the classes of two data sets."""

from __future__ import annotations

from collections.abc import Sequence

from mmdino.utils.printable import printable


def describe_other_classes(expected: Sequence[str] | None, found: Sequence[str] | None) -> str:
    """Says in what the classes of two data sets differ; empty if in nothing.

    Args:
        expected: Names of the classes of one, in the order of the labels; None for unknown ones.
        found: Those of the other.
    """
    if expected is None or found is None or list(expected) == list(found):
        return ""
    if len(expected) != len(found):
        return f"{len(expected)} and {len(found)}"
    pairs = zip(expected, found, strict=True)
    label, (first, second) = next((i, pair) for i, pair in enumerate(pairs) if len({*pair}) > 1)
    return f"label {label} is {printable(str(first))!r} and {printable(str(second))!r}"
