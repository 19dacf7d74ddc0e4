"""Positions of patches: learned embeddings for any grid, and what acts inside the attention.

N is the number of tokens, P = h * w that of patches, which come last among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers.precision import at_least_float32


class RelativePositions(NamedTuple):
    """What a relative position encoding adds to the attention of each block, for one grid.

    A module that a ViT takes as ``position_encoding`` maps a grid (rows, columns) to this.
    """

    rotation: tuple[Tensor, Tensor] | None = None
    """Cosines and sines (P, D / heads) that rotate queries and keys (Su et al. 2021)."""
    bias: Tensor | None = None
    """Values (heads, N, N) that are added to the attention scores (Liu et al. 2021)."""


NO_POSITIONS = RelativePositions()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates pairs of channels of the patch tokens by their positions.

    Channel i is paired with channel i + D/2, and the rotation is in float32 at least.

    Args:
        x: Queries or keys (B, heads, N, D). Tokens before the last P have no position.
        rotation: Cosines and sines (P, D) of the angles; both halves of D are alike.
    """
    cos, sin = rotation
    prefix, patches = x.split([x.shape[-2] - len(cos), len(cos)], dim=-2)
    first, second = at_least_float32(patches).chunk(2, dim=-1)
    turned = torch.cat([-second, first], dim=-1)
    return torch.cat([prefix, (patches * cos + turned * sin).to(x.dtype)], dim=-2)


def interpolate_pos_embed(
    pos_embed: Tensor,
    source_grid: Sequence[int],
    target_grid: Sequence[int],
    num_extra_tokens: int,
    mode: str = "bicubic",
    offset: float = 0.1,
    antialias: bool = False,
) -> Tensor:
    """Resizes learned position embeddings to another grid of patches.

    Args:
        pos_embed: Embeddings (1, extra + H * W, D) of the source grid (H, W).
        source_grid: Rows and columns of patches that the embeddings were learned for.
        target_grid: Rows and columns wanted.
        num_extra_tokens: Number of leading tokens without a position, such as the class token.
        mode: Interpolation of ``torch.nn.functional.interpolate``.
        offset: Added to the target grid for the scale factor, as in the authors' implementation.
            With 0 the scale is that of the grids.
        antialias: Whether a smaller grid is low-pass filtered, as in DINOv2 with registers.

    Returns:
        Embeddings (1, extra + h * w, D).
    """
    if tuple(source_grid) == tuple(target_grid):
        return pos_embed
    extra, places = pos_embed[:, :num_extra_tokens], pos_embed[:, num_extra_tokens:]
    places = at_least_float32(places.unflatten(1, tuple(source_grid)).permute(0, 3, 1, 2))
    scale = [(new + offset) / old for new, old in zip(target_grid, source_grid, strict=True)]
    target = {"scale_factor": scale} if offset else {"size": tuple(target_grid)}
    places = functional.interpolate(places, mode=mode, antialias=antialias, **target)
    assert places.shape[-2:] == tuple(target_grid), "the offset must not add a row or a column"
    places = places.permute(0, 2, 3, 1).flatten(1, 2).to(extra.dtype)
    return torch.cat([extra, places], dim=1)
