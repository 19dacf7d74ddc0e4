"""Backbones. Any backbone of mmpretrain works too."""

from mmdino.models.backbones.frozen import FrozenBackbone
from mmdino.models.backbones.resnet import DINOResNet
from mmdino.models.backbones.vision_transformer import DINOVisionTransformer

__all__ = ["DINOResNet", "DINOVisionTransformer", "FrozenBackbone"]
