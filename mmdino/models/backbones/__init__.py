"""Backbones. Any backbone of mmpretrain works too; ResNet-50 needs nothing of its own."""

from mmdino.models.backbones.vision_transformer import DINOVisionTransformer

__all__ = ["DINOVisionTransformer"]
