"""Backbones. Any backbone of mmpretrain works too."""

from mmdino.models.backbones.features import Features
from mmdino.models.backbones.frozen import FrozenBackbone
from mmdino.models.backbones.resnet import ResNet
from mmdino.models.backbones.swin_transformer_v2 import SwinTransformerV2
from mmdino.models.backbones.vision_transformer import VisionTransformer

__all__ = ["Features", "FrozenBackbone", "ResNet", "SwinTransformerV2", "VisionTransformer"]
