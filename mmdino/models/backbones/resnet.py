"""mmpretrain's ResNet with torchvision's initialisation and strict loading."""

from __future__ import annotations

from typing import Any

from mmpretrain.models import ResNet as MMPretrainResNet

from mmdino.models.backbones.strict_loading import StrictLoading
from mmdino.registry import MODELS


@MODELS.register_module()
class ResNet(StrictLoading, MMPretrainResNet):
    """mmpretrain's ``ResNet``, initialised like torchvision's, which the authors used.

    It differs in two defaults: the last batch norm of a block is initialised to 1, and an
    ``init_cfg`` of type ``Pretrained`` is loaded by :func:`load_pretrained`, which requires all
    tensors to match.

    Args:
        depth: Depth; 50 in the paper.
        zero_init_residual: Whether to initialise the last batch norm of each block to 0.
        **kwargs: Other arguments of mmpretrain's ``ResNet``.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.ResNet", depth=50, out_indices=(3,),
        ...     init_cfg=dict(type="Pretrained", checkpoint="resnet50_teacher.pth"))
    """

    def __init__(self, depth: int = 50, zero_init_residual: bool = False, **kwargs: Any) -> None:
        super().__init__(depth=depth, zero_init_residual=zero_init_residual, **kwargs)
