"""The tokens of an image, whatever the backbone that made them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mmdino.models.backbones.features import Features
from mmdino.models.selfsup.base import patch_grid


class Tokens(NamedTuple):
    """Class token and patches of a batch of images; a backbone may lack either."""

    cls: Tensor | None
    """Class token (B, D)."""
    patches: Tensor | None
    """Patch tokens, or places of a map, (B, h * w, D), row by row."""
    grid: tuple[int, int] | None
    """Rows h and columns w of patches."""

    @property
    def pooled(self) -> Tensor:
        """Mean of the patches (B, D); the class token, or the vector, where there are none."""
        return self.cls if self.patches is None else self.patches.mean(1)

    @property
    def of_image(self) -> Tensor:
        """What stands for the whole image (B, D): the class token, or the mean of the patches."""
        return self.pooled if self.cls is None else self.cls


def tokens_of(
    outputs: Tensor | Features | Sequence[Tensor | Features],
    backbone: nn.Module,
    size: Sequence[int],
) -> Tokens:
    """Returns the tokens in the last output of a backbone.

    Args:
        outputs: What the backbone gave: :class:`Features`, maps (B, D, h, w), tokens (B, N, D) of
            which the patches are the last, or vectors (B, D). Maps of timm may be (B, h, w, D).
        backbone: The backbone, whose patches tell the grid of tokens.
        size: Height and width of the images.

    Raises:
        ValueError: If the output has none of these shapes, or fewer tokens than patches.
    """
    if isinstance(outputs, (tuple, list)) and not isinstance(outputs, Features) and outputs:
        outputs = outputs[-1]
    if isinstance(outputs, Features):
        return Tokens(outputs.cls, outputs.patches, tuple(outputs.grid))
    if outputs.dim() == 4:
        if getattr(_timm_model(backbone), "output_fmt", None) == "NHWC":
            outputs = outputs.movedim(-1, 1)
        return Tokens(None, outputs.flatten(2).mT, tuple(outputs.shape[2:]))
    if outputs.dim() == 2:
        return Tokens(outputs, None, None)
    grid = patch_grid(backbone, size)
    number = math.prod(grid)
    if outputs.dim() != 3 or outputs.shape[1] < number:
        raise ValueError(
            f"{type(backbone).__name__} gives an output of shape {tuple(outputs.shape)} for images "
            f"of {size[0]} x {size[1]} pixels, which is neither a map (batch, width, rows, "
            f"columns) nor {number} patches and tokens before them. Set out_type='features' of "
            "mmdino.VisionTransformer, 'raw' of mmpretrain's, or 'featmap'."
        )
    cls = outputs[:, 0] if outputs.shape[1] > number else None
    return Tokens(cls, outputs[:, outputs.shape[1] - number :], grid)


def feature_width(backbone: nn.Module) -> int | None:
    """Returns the width D of the last output of a backbone, None where it does not tell."""
    stages = getattr(backbone, "stages", None)
    if stages is not None and hasattr(stages[-1], "out_channels"):
        return stages[-1].out_channels
    network = _timm_model(backbone) or backbone
    for name in ("feat_dim", "channels", "embed_dims", "num_features"):
        value = getattr(network, name, None)
        if isinstance(value, (list, tuple)) and value:
            value = value[-1]
        if isinstance(value, int):
            return value
    return None


def _timm_model(backbone: nn.Module) -> nn.Module | None:
    """Returns the network of timm within mmpretrain's ``TIMMBackbone``, else None."""
    return getattr(backbone, "timm_model", None)
