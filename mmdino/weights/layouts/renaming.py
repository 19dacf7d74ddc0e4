"""Renaming by patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def rename(tensors: Mapping[str, T], rules: Iterable[tuple[str, str]]) -> dict[str, T]:
    """Renames each tensor by the first rule that fits its name; the others keep theirs.

    Args:
        tensors: Tensors by name.
        rules: Pairs of a regular expression, matched at the start of the name, and what replaces
            the match.

    Raises:
        ValueError: If two tensors would get one name.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, T] = {}
    for name, tensor in tensors.items():
        new_name = name
        for pattern, replacement in compiled:
            match = pattern.match(name)
            if match:
                new_name = match.expand(replacement) + name[match.end() :]
                break
        if new_name in renamed:
            raise ValueError(
                f"The tensor {name!r} would become {new_name!r}, which is there already. The file "
                "mixes the names of two layouts; convert the file it was made from."
            )
        renamed[new_name] = tensor
    return renamed


def below(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Returns the tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def put_below(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Returns the tensors with a prefix before each name."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
