"""Renaming of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def rename(tensors: Mapping[str, T], rules: Iterable[tuple[str, str]]) -> dict[str, T]:
    """Renames each tensor by the first rule that matches; the others keep their names.

    Args:
        tensors: Tensors by name.
        rules: Pairs of a regular expression, matched at the start of the name, and the replacement
            of the match.

    Raises:
        ValueError: If two tensors would have the same name.
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
                f"The tensor {name!r} would become {new_name!r}, which already exists. The file "
                "mixes the names of two layouts; convert the file that it was made from."
            )
        renamed[new_name] = tensor
    return renamed


def strip_prefix(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Returns the tensors whose names start with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def add_prefix(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Returns the tensors with a prefix added to each name."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
