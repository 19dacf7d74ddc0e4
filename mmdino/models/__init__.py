"""Networks and losses."""

from mmdino.models.backbones import FrozenBackbone, ResNet, VisionTransformer
from mmdino.models.dino import DINO
from mmdino.models.heads import DINOHead, LinearProbeHead
from mmdino.models.losses import DINOLoss
from mmdino.models.necks import BatchNormNeck, TokenFeature
from mmdino.models.preprocessors import MultiViewPreprocessor

__all__ = [
    "DINO",
    "BatchNormNeck",
    "DINOHead",
    "DINOLoss",
    "FrozenBackbone",
    "LinearProbeHead",
    "MultiViewPreprocessor",
    "ResNet",
    "TokenFeature",
    "VisionTransformer",
]
