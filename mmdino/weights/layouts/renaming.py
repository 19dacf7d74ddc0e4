"""Renaming of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

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


def join_rows(tensors: Mapping[str, Tensor], parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """Concatenates tensors along their rows where a module has all parts; others stay.

    Args:
        tensors: Tensors by name, such as ``layers.0.attn.query.weight``.
        parts: What the names of the parts have in order, such as ``("query", "key", "value")``.
        whole: What the name of the joined tensor has in their place, such as ``"qkv"``.
    """
    rest = dict(tensors)
    joined = {}
    for name in tensors:
        match = re.fullmatch(rf"(.*\.){parts[0]}(\.\w+)", name)
        names = [f"{match[1]}{part}{match[2]}" for part in parts] if match else []
        # If one of them is missing, the names of the others show it.
        if names and all(part in rest for part in names):
            joined[f"{match[1]}{whole}{match[2]}"] = torch.cat([rest.pop(part) for part in names])
    return rest | joined


def split_rows(
    tensors: Mapping[str, Tensor], parts: Sequence[str], whole: str
) -> dict[str, Tensor]:
    """Splits tensors into equal numbers of rows; the inverse of :func:`join_rows`."""
    split = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(rf"(.*\.){whole}(\.\w+)", name)
        if match:
            for part, rows in zip(parts, tensor.chunk(len(parts)), strict=True):
                split[f"{match[1]}{part}{match[2]}"] = rows.clone()
        else:
            split[name] = tensor
    return split
