"""Feature maps of one scale, for a linear head on frozen features."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdino.registry import MODELS


@MODELS.register_module()
class BatchNormNeck(BaseModule):
    """Batch norm of each feature map, without parameters of its own.

    Frozen features of different networks, channels and blocks differ much in scale; normalised, one
    learning rate fits them all. There is no gain and no bias: the linear head that follows has
    weights enough, and stays the only part that learns.

    Args:
        in_channels: Width of each feature map.

    Raises:
        ValueError: From the forward pass, if there are more or fewer maps than widths.

    Example:
        >>> neck = dict(type="mmdino.BatchNormNeck", in_channels=[384])
        >>> decode_head = dict(
        ...     type="FCNHead", num_convs=0, concat_input=False, in_channels=384, channels=384,
        ...     in_index=0, dropout_ratio=0, num_classes=150)
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for width in in_channels)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Normalises feature maps, each (B, D, H, W)."""
        if len(features) != len(self.norms):
            raise ValueError(
                f"BatchNormNeck has {len(self.norms)} widths in in_channels, but {len(features)} "
                "feature maps came. Give one width for each entry of the backbone's out_indices."
            )
        return tuple(norm(x) for norm, x in zip(self.norms, features, strict=True))
