"""Batch norm of feature maps for a linear head."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class BatchNormNeck(BaseModule):
    """Batch norm of each feature map, without gain and bias.

    The scale of frozen features varies with network, channel and block; normalised, they can share
    a learning rate. The linear head that follows is the only part with parameters.

    Args:
        in_channels: Width D of each feature map.

    Raises:
        ValueError: If a width is below 1; from the forward pass, if the number of maps differs from
            that of the widths.

    Example:
        >>> neck = dict(type="mmdino.BatchNormNeck", in_channels=[384])
        >>> decode_head = dict(
        ...     type="FCNHead", num_convs=0, concat_input=False, in_channels=384, channels=384,
        ...     in_index=0, dropout_ratio=0, num_classes=150)
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        for index, width in enumerate(in_channels):
            require_number("BatchNormNeck", f"in_channels[{index}]", width, least=1, whole=True)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, affine=False) for width in in_channels)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Normalises feature maps of shape (B, D, H, W)."""
        if len(features) != len(self.norms):
            raise ValueError(
                f"BatchNormNeck has {len(self.norms)} widths in in_channels, but got "
                f"{len(features)} feature maps. Set one per entry of the backbone's out_indices."
            )
        return tuple(norm(x) for norm, x in zip(self.norms, features, strict=True))
