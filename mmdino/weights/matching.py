"""How the tensors of a file and those of a network compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

MAX_NAMED = 8
POSITIONS = "pos_embed"


class Match(NamedTuple):
    """Which tensors of a file fit a network."""

    num_expected: int
    missing: list[str]
    """Names that the network has and the file has not."""
    different: list[str]
    """Names in both, with the two shapes."""
    unexpected: list[str]
    """Names that the file has and the network has not."""

    @property
    def num_matched(self) -> int:
        """Number of tensors that the network takes from the file."""
        return self.num_expected - len(self.missing) - len(self.different)

    @property
    def whole(self) -> bool:
        """Whether every tensor that the network expects is there with its shape."""
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


def compare(came: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Match:
    """Compares names and shapes.

    Args:
        came: Tensors of a file.
        expected: State dict of the network; its values are not looked at.
    """
    return Match(
        num_expected=len(expected),
        missing=[name for name in expected if name not in came],
        different=[
            f"{name} {tuple(came[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in came and came[name].shape != tensor.shape
        ],
        unexpected=[name for name in came if name not in expected],
    )


def allow_pos_embed_resize(
    expected: Mapping[str, Tensor], came: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns what a network expects, its position embeddings as long as those that came.

    The ViT resizes them when they are loaded, so that their length alone is no difference.

    Args:
        expected: State dict of the network.
        came: Tensors of a file.
    """
    return {
        name: came[name] if _differ_in_length_alone(name, came.get(name), tensor) else tensor
        for name, tensor in expected.items()
    }


def _differ_in_length_alone(name: str, came: Tensor | None, expected: Tensor) -> bool:
    if came is None or name.split(".")[-1] != POSITIONS:
        return False
    return came.dim() == expected.dim() and came.shape[-1] == expected.shape[-1]


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
