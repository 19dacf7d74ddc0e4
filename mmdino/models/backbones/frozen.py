"""A backbone that is not trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class FrozenBackbone(BaseModule):
    """Runs a backbone in eval mode and without gradients, in any mode of the model.

    There is no stochastic depth and no dropout, and batch norms use their running statistics, which
    stay constant. Memory is that of inference. For models of mmpretrain and mmsegmentation.

    Args:
        backbone: Config of the backbone, with ``init_cfg`` for its weights.

    Example:
        >>> model = dict(
        ...     backbone=dict(
        ...         type="mmdino.FrozenBackbone",
        ...         backbone=dict(
        ...             type="mmdino.VisionTransformer", arch="deit-small",
        ...             init_cfg=dict(type="Pretrained", checkpoint="epoch_100.pth"))))
    """

    def __init__(self, backbone: dict) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.backbone.requires_grad_(False)
        self.backbone.eval()

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Sets the mode of this module; the backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Tensor | Sequence[Tensor]:
        """Returns what the backbone returns, with no gradient attached."""
        return self.backbone(*args, **kwargs)
