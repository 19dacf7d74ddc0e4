"""Learned biases of attention scores by the offset between two patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdino.models.layers.position_encoding import RelativePositions
from mmdino.models.layers.precision import at_least_float32
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

EXTRA_ROWS = 3
"""Rows of a table for tokens without a place: from them, to them, and among them."""
BISECTIONS = 100


@MODELS.register_module()
class RelativePositionBias(nn.Module):
    """A learned bias for each head and each offset between two patches (Bao et al. 2022, BEiT).

    It is added to the attention scores before the softmax and starts from 0. In feature
    distillation (Wei et al. 2022, arXiv 2205.14141) all blocks of the student share one table and
    the student has no other positions.

    With the grid (h, w) that it is learned for, the row of a query patch i and a key patch j is
    (r_i - r_j + h - 1)(2w - 1) + (c_i - c_j + w - 1). Three more rows at the end are for tokens
    without a place, the class token and registers: from them to a patch, from a patch to them, and
    among them. For another grid the table is resized by :func:`resize_table`.

    Args:
        num_heads: Number of heads of a block.
        grid: Rows and columns of patches that the table is learned for, an int for a square.
        num_extra_tokens: Number of tokens before the patches: 1 for a class token, plus registers.

    Attributes:
        table: Parameter ((2h - 1)(2w - 1) + 3, heads), without the three rows if there are no extra
            tokens.

    Raises:
        TypeError: If what must be a number is none.
        ValueError: If a number is out of range; from loading, if a table is for another grid that
            is no square.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="vit-b", patch_size=16, key_bias=False,
        ...     learned_positions=False, layer_scale_init_value=0.1, weight_init="beit",
        ...     position_encoding=dict(
        ...         type="mmdino.RelativePositionBias", num_heads=12, grid=14))
    """

    def __init__(
        self, num_heads: int, grid: int | Sequence[int] = 14, num_extra_tokens: int = 1
    ) -> None:
        super().__init__()
        require_number("RelativePositionBias", "num_heads", num_heads, least=1, whole=True)
        require_number(
            "RelativePositionBias", "num_extra_tokens", num_extra_tokens, least=0, whole=True
        )
        sides = list(grid) if isinstance(grid, Sequence) and not isinstance(grid, str) else [grid]
        for side in sides:
            require_number("RelativePositionBias", "grid", side, least=1, whole=True)
        if len(sides) > 2:
            raise ValueError(
                f"RelativePositionBias got grid={grid!r}; it must be a number of patches, or rows "
                "and columns."
            )
        self.grid = (sides[0], sides[-1])
        self.num_heads = num_heads
        self.num_extra_tokens = num_extra_tokens
        rows = math.prod(2 * side - 1 for side in self.grid)
        self.table = nn.Parameter(
            torch.zeros(rows + (EXTRA_ROWS if num_extra_tokens else 0), num_heads)
        )
        self._register_load_state_dict_pre_hook(self._resize_loaded_table)

    def reset_parameters(self) -> None:
        """Sets all biases to 0."""
        nn.init.zeros_(self.table)

    def extra_repr(self) -> str:
        """Returns grid and heads."""
        return f"grid={self.grid}, num_heads={self.num_heads}"

    def forward(self, grid: tuple[int, int]) -> RelativePositions:
        """Returns the biases (heads, N, N) of a grid (rows, columns)."""
        table = resize_table(self.table, self.grid, grid)
        index = relative_index(grid, self.num_extra_tokens, table.device)
        return RelativePositions(bias=table[index.flatten()].T.unflatten(1, index.shape))

    def _resize_loaded_table(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Resizes a loaded table of another grid, which must have been a square."""
        name = f"{prefix}table"
        loaded = state_dict.get(name)
        if loaded is None or loaded.dim() != 2 or len(loaded) == len(self.table):
            return
        source = square_grid(len(loaded), self.num_extra_tokens)
        if source is None:
            raise ValueError(
                f"The table of relative positions in the file has {len(loaded)} rows, which are "
                f"those of no square grid of patches; the network has the grid {self.grid}. Set "
                "position_encoding.grid to that of the pretraining; the forward pass resizes the "
                "table for other images."
            )
        state_dict[name] = resize_table(loaded, source, self.grid)


def square_grid(num_rows: int, num_extra_tokens: int) -> tuple[int, int] | None:
    """Returns the square grid whose table has so many rows, None if there is none."""
    offsets = num_rows - (EXTRA_ROWS if num_extra_tokens else 0)
    side = math.isqrt(max(offsets, 0))
    return ((side + 1) // 2,) * 2 if side % 2 and side * side == offsets else None


def relative_index(
    grid: Sequence[int], num_extra_tokens: int, device: torch.device | str = "cpu"
) -> Tensor:
    """Returns the row of the table for each pair of tokens (N, N), from query i to key j.

    Args:
        grid: Rows and columns of patches.
        num_extra_tokens: Number of tokens before the patches.
        device: Device of the result.
    """
    height, width = grid
    places = torch.arange(height * width, device=device)
    rows, columns = places // width, places % width
    vertical = rows[:, None] - rows + height - 1
    horizontal = columns[:, None] - columns + width - 1
    offsets = (2 * height - 1) * (2 * width - 1)
    number = num_extra_tokens + height * width
    index = torch.empty(number, number, dtype=torch.long, device=device)
    index[:num_extra_tokens] = offsets
    index[:, :num_extra_tokens] = offsets + 1
    index[:num_extra_tokens, :num_extra_tokens] = offsets + 2
    index[num_extra_tokens:, num_extra_tokens:] = vertical * (2 * width - 1) + horizontal
    return index


def resize_table(table: Tensor, source_grid: Sequence[int], target_grid: Sequence[int]) -> Tensor:
    """Resizes a table of biases to another grid of patches of the same size.

    An offset of a few patches is the same distance in pixels on any grid and keeps its bias: on a
    smaller grid the table is cut out. On a larger one, the offsets that were learned are spread
    over the wider range at distances that grow geometrically from 1, as in BEiT's fine-tuning, and
    offsets between them get linear interpolation on each axis. BEiT has cubic splines there, of
    SciPy's ``interp2d``, which SciPy 1.14 removed; a line cannot overshoot what was learned, and is
    two small matrix products that gradients pass.

    Args:
        table: Biases ((2h - 1)(2w - 1), heads) of the source grid (h, w), then rows for tokens
            without a place, which stay.
        source_grid: The grid that it was learned for.
        target_grid: The grid wanted.

    Returns:
        The table of the target grid, in the precision of the other.
    """
    if tuple(source_grid) == tuple(target_grid):
        return table
    sides = [2 * side - 1 for side in source_grid]
    offsets, extra = table[: math.prod(sides)], table[math.prod(sides) :]
    values = at_least_float32(offsets)
    vertical, horizontal = (
        torch.tensor(_interpolation(old, new), dtype=values.dtype, device=values.device)
        for old, new in zip(source_grid, target_grid, strict=True)
    )
    resized = torch.einsum("tr,uc,rch->tuh", vertical, horizontal, values.unflatten(0, sides))
    return torch.cat([resized.flatten(0, 1).to(table.dtype), extra])


def _interpolation(old: int, new: int) -> list[list[float]]:
    """Weights (2 new - 1, 2 old - 1) that give the bias of each offset on one axis."""
    places = geometric_places(old, new)
    rows = []
    for offset in range(1 - new, new):
        weights = [0.0] * (2 * old - 1)
        distance, sign = abs(offset), 1 if offset > 0 else -1
        right = next((k for k, place in enumerate(places) if place >= distance), old - 1)
        left = max(right - 1, 0)
        gap = places[right] - places[left]
        fraction = min((distance - places[left]) / gap, 1.0) if gap else 1.0
        weights[old - 1 + sign * right] += fraction
        weights[old - 1 + sign * left] += 1.0 - fraction
        rows.append(weights)
    return rows


def geometric_places(old: int, new: int) -> list[float]:
    """Where on a larger grid the offsets 0 to old - 1 go: 0, 1, 1 + q, 1 + q + q^2, ...

    The factor q is the one that brings the last of them to the offset new - 1; it is 1 on a smaller
    grid.
    """

    def places(factor: float) -> list[float]:
        found = [0.0]
        for power in range(old - 1):
            found.append(found[-1] + factor**power)
        return found

    if new <= old or old < 3:
        return places(1.0)
    low, high = 1.0, new ** (1 / (old - 2))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if places(middle)[-1] < new - 1 else (low, middle)
    return places(low)
