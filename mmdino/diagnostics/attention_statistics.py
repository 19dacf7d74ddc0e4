"""What is measured of a network's attention, added up over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdino.diagnostics.attention_distance import attention_distance, uniform_distance
from mmdino.diagnostics.attention_patterns import (
    column_chance,
    column_fraction,
    relative_chance,
    relative_fraction,
)
from mmdino.diagnostics.head_similarity import head_similarity
from mmdino.diagnostics.mutual_information import mutual_information
from mmdino.diagnostics.patch_attention import patch_rows

PER_HEAD = (
    "distance",
    "distance_unnormalised",
    "similarity",
    "similarity_whole_map",
    "mutual_information",
)
"""What each layer and head has a number of."""


class AttentionStatistics:
    """Means over images of one grid, in memory that does not grow with their number.

    Args:
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
        extra_tokens: Number of leading tokens that are no patches.

    Example:
        >>> statistics = AttentionStatistics((14, 14), 16, 1)
        >>> run_blocks(vit, images, on_attention=statistics.add)
        >>> statistics.numbers()["distance"]  # (layers, heads)
    """

    def __init__(self, grid: Sequence[int], patch_size: int, extra_tokens: int) -> None:
        self.grid = tuple(grid)
        self.patch_size = patch_size
        self.extra_tokens = extra_tokens
        self._sums: dict[str, dict[int, Tensor]] = {}
        self._counts: dict[int, int] = {}

    def add(self, layer: int, attention: Tensor) -> None:
        """Adds the attention of one or more images.

        Args:
            layer: Number of the layer, from 0.
            attention: Attention (..., H, N, N) after the softmax; leading axes are images.

        Raises:
            ValueError: If the grid does not fit, or as in :func:`patch_rows`.
        """
        extra = self.extra_tokens
        maps = attention.reshape(-1, *attention.shape[-3:])
        rows = patch_rows(maps, extra)
        values = {
            "distance": attention_distance(maps, self.grid, self.patch_size, extra),
            "distance_unnormalised": attention_distance(
                maps, self.grid, self.patch_size, extra, normalize=False
            ),
            "similarity": head_similarity(maps, extra),
            "similarity_whole_map": head_similarity(maps, extra, whole_maps=True),
            "mutual_information": mutual_information(maps, extra),
            "average_map": maps.double().mean(1),
            "average_patch_map": rows.mean(1),
        }
        self._counts[layer] = self._counts.get(layer, 0) + len(maps)
        for name, of_images in values.items():
            sums = self._sums.setdefault(name, {})
            sums[layer] = sums.get(layer, 0) + of_images.sum(0)

    def means(self) -> dict[str, Tensor]:
        """Returns the means by name: ``PER_HEAD`` (layers, H), ``average_map`` (layers, N, N) and
        ``average_patch_map`` (layers, P, P), float64 on the CPU.

        Raises:
            ValueError: If no image was added.
        """
        if not self._counts:
            raise ValueError("There is nothing to measure: no image was added.")
        layers = sorted(self._counts)
        return {
            name: torch.stack([sums[layer] / self._counts[layer] for layer in layers]).cpu()
            for name, sums in self._sums.items()
        }

    def numbers(self, means: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
        """Returns all but the maps, as lists that JSON can hold, with their chance levels.

        Args:
            means: Result of :meth:`means`, if it is at hand.
        """
        means = self.means() if means is None else means
        average = means["average_patch_map"]
        return {
            "grid": list(self.grid),
            "patch_size": self.patch_size,
            "extra_tokens": self.extra_tokens,
            **{name: as_lists(means[name]) for name in PER_HEAD},
            "uniform_distance": uniform_distance(self.grid, self.patch_size),
            "relative_fraction": as_lists(relative_fraction(average, self.grid)),
            "relative_chance": relative_chance(self.grid),
            "column_fraction": as_lists(column_fraction(average)),
            "column_chance": column_chance(self.grid),
        }


def as_lists(values: Tensor) -> list:
    """Returns numbers as nested lists, with None for NaN, which JSON does not have."""
    if values.dim() > 1:
        return [as_lists(row) for row in values]
    return [None if number != number else number for number in values.tolist()]
