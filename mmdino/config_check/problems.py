"""What a check has found, and the message that it ends in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mmdino.config_check.spelling import did_you_mean, is_one_edit, nearest


@dataclass
class Problems:
    """Collects what is wrong with a config, place by place.

    A key that is not known where it stands may be known elsewhere, so the message about it waits
    until all places have been seen.
    """

    _found: list[tuple[str, str]] = field(default_factory=list)
    _unknown: list[tuple[str, str, str, tuple[str, ...]]] = field(default_factory=list)
    _places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: str, text: str) -> None:
        """Notes what is wrong at a path."""
        self._found.append((path, text))

    def add_unknown(self, path: str, key: str, owner: str, known: Iterable[str]) -> None:
        """Notes a key that nothing reads.

        Args:
            path: Path of the dict that has it.
            key: The key.
            owner: What reads the dict, such as "mmdino.DINO".
            known: Keys that it reads.
        """
        self._unknown.append((path, key, owner, tuple(known)))

    def note_place(self, path: str, known: Iterable[str]) -> None:
        """Notes which keys are known at a path, for the suggestions."""
        for key in known:
            self._places.setdefault(key, []).append(join(path, key))

    def messages(self) -> list[str]:
        """Returns a line for each problem."""
        lines = [f"{path}: {text}" if path else text for path, text in self._found]
        for path, key, owner, known in self._unknown:
            guesses = [name for name in known if is_one_edit(key, name)]
            guesses = guesses or [*self._elsewhere(path, key), *nearest(key, known)]
            text = f"{owner} has no {key!r}{did_you_mean(guesses)}"
            if not guesses:
                text += f" (it has {', '.join(sorted(known)) or 'no arguments'})"
            lines.append(f"{join(path, key)}: {text}")
        return lines

    def _elsewhere(self, path: str, key: str) -> list[str]:
        """Paths of the same key in other dicts, nearest first in the tree of the config."""
        place = path.split(".")

        def distance(other: str) -> tuple[int, int]:
            parts = other.split(".")
            common = next(
                (i for i, (a, b) in enumerate(zip(place, parts, strict=False)) if a != b),
                min(len(place), len(parts)),
            )
            return -common, len(parts)

        return sorted(self._places.get(key, []), key=distance)[:1]


def join(path: str, key: object) -> str:
    """Returns the path of a key in the dict or list at ``path``."""
    return f"{path}.{key}" if path else str(key)
