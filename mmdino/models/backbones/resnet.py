"""mmpretrain's ResNet, which refuses pretrained weights that do not fit."""

from __future__ import annotations

from typing import Any

from mmpretrain.models import ResNet as MMPretrainResNet

from mmdino.registry import MODELS
from mmdino.weights.pretrained import load_pretrained, pretrained_cfg


@MODELS.register_module()
class ResNet(MMPretrainResNet):
    """mmpretrain's ``ResNet``, started like torchvision's, which the authors used.

    Parameters, their names and all options are mmpretrain's. What differs: the last batch norm of a
    block starts from 1, and an ``init_cfg`` of type ``Pretrained`` reads every file that
    :func:`load_pretrained` reads and must match whole.

    Args:
        depth: Depth; 50 in the paper.
        zero_init_residual: Whether the last batch norm of each block starts from 0.
        **kwargs: mmpretrain's other arguments.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.ResNet", depth=50, out_indices=(3,),
        ...     init_cfg=dict(type="Pretrained", checkpoint="resnet50_teacher.pth"))
    """

    def __init__(self, depth: int = 50, zero_init_residual: bool = False, **kwargs: Any) -> None:
        super().__init__(depth=depth, zero_init_residual=zero_init_residual, **kwargs)

    def init_weights(self) -> None:
        """Initialises the weights, or loads what ``init_cfg`` names."""
        pretrained = pretrained_cfg(self.init_cfg)
        if pretrained is None:
            super().init_weights()
        else:
            load_pretrained(self, pretrained)
