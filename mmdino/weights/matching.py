"""Comparison of the tensors of a file with those of a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

MAX_NAMED = 8
POS_EMBED = "pos_embed"
ENCODING = "position_encoding."
OF_A_BLOCK = re.compile(r"layers\.\d+\.(position_encoding\..+)")
BIAS_TABLE = "position_encoding.table"
"""End of the name of a table of relative positions, of a block or shared."""


class Match(NamedTuple):
    """Which tensors of a file match a network."""

    num_expected: int
    missing: list[str]
    """Names in the network only."""
    different: list[str]
    """Names in both, with the two different shapes."""
    unexpected: list[str]
    """Names in the file only."""

    @property
    def num_matched(self) -> int:
        """Number of tensors with the same name and shape."""
        return self.num_expected - len(self.missing) - len(self.different)

    @property
    def complete(self) -> bool:
        """Whether the file has every tensor of the network with its shape."""
        return self.num_matched == self.num_expected

    def __str__(self) -> str:
        parts = [f"{self.num_matched} of {self.num_expected} tensors matched"]
        for label, names in (
            ("missing", self.missing),
            ("of another shape", self.different),
            ("unexpected", self.unexpected),
        ):
            if names:
                parts.append(f"{len(names)} {label}: {_listed(names)}")
        return "; ".join(parts)


def compare(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Match:
    """Compares names and shapes of a file's tensors with those of a network."""
    return Match(
        num_expected=len(expected),
        missing=[name for name in expected if name not in tensors],
        different=[
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in tensors and tensors[name].shape != tensor.shape
        ],
        unexpected=[name for name in tensors if name not in expected],
    )


def allow_pos_embed_resize(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the expected tensors with position embeddings and tables of the length in the file.

    The ViT resizes both on loading, so a different length is not a mismatch.

    Args:
        expected: State dict of the network.
        tensors: Tensors of a file.
    """
    return {
        name: tensors[name] if _differ_in_length(name, tensors.get(name), tensor) else tensor
        for name, tensor in expected.items()
    }


def copy_shared_positions(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Gives each block a position encoding that the blocks of a file share.

    Args:
        tensors: Tensors of a file.
        expected: Tensors of the network. If its blocks share one too, nothing changes.
    """
    shared = {name: tensor for name, tensor in tensors.items() if name.startswith(ENCODING)}
    matches = [match for name in expected if (match := OF_A_BLOCK.fullmatch(name))]
    copies = {match[0]: shared[match[1]].clone() for match in matches if match[1] in shared}
    if not copies:
        return dict(tensors)
    return {name: tensor for name, tensor in tensors.items() if name not in shared} | copies


def _differ_in_length(name: str, found: Tensor | None, expected: Tensor) -> bool:
    """Returns whether two position embeddings or tables may differ only in their length."""
    if found is None or not (name.split(".")[-1] == POS_EMBED or name.endswith(BIAS_TABLE)):
        return False
    return found.dim() == expected.dim() and found.shape[-1] == expected.shape[-1]


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
