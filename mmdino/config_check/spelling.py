"""Which of the known names a misspelt one may stand for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST = 3
"""Largest number of names that a message suggests, unless more are one edit away."""
SHORTEST = 3
"""Shorter words are one edit away from too much."""


def is_one_edit(first: str, second: str) -> bool:
    """Whether two words differ by one letter added, left out, exchanged or swapped with the next.

    The case of letters does not count, but words that differ in it alone do.
    """
    if first == second:
        return False
    first, second = first.lower(), second.lower()
    while first and second and first[0] == second[0]:
        first, second = first[1:], second[1:]
    while first and second and first[-1] == second[-1]:
        first, second = first[:-1], second[:-1]
    swapped = len(first) == 2 and first == second[::-1]
    return swapped or max(len(first), len(second)) <= 1


def near_misses(word: str, known: Iterable[str]) -> list[str]:
    """Returns the names that ``word`` is surely a misspelling of: those one edit away.

    Words that differ in a digit count something and are not the same word.
    """
    return [
        name
        for name in sorted(known)
        if is_one_edit(word, name)
        and min(len(word), len(name)) >= SHORTEST
        and word.rstrip("0123456789") != name.rstrip("0123456789")
    ]


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Returns the names that ``word`` may be a misspelling of, the likeliest first."""
    known = sorted(known)
    found = [name for name in known if is_one_edit(word, name)]
    lower = {name.lower(): name for name in known}
    similar = difflib.get_close_matches(word.lower(), lower, n=MOST)
    found += [lower[name] for name in similar if lower[name] not in found]
    return found[: max(MOST, sum(is_one_edit(word, name) for name in found))]


def did_you_mean(names: Iterable[str]) -> str:
    """Returns the question that ends a message, nothing where there are no names."""
    names = list(names)
    return f"; did you mean {' or '.join(names)}?" if names else ""
