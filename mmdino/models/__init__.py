"""Networks, losses and methods."""

from mmdino.models.backbones import Features, FrozenBackbone, ResNet, VisionTransformer
from mmdino.models.heads import DINOHead, LinearProbeHead
from mmdino.models.losses import CenteredLoss, DINOLoss
from mmdino.models.necks import BatchNormNeck, TokenFeature
from mmdino.models.preprocessors import MultiViewPreprocessor
from mmdino.models.selfsup import DINO, SelfSupervisedModel, StudentTeacher

__all__ = [
    "DINO",
    "BatchNormNeck",
    "CenteredLoss",
    "DINOHead",
    "DINOLoss",
    "Features",
    "FrozenBackbone",
    "LinearProbeHead",
    "MultiViewPreprocessor",
    "ResNet",
    "SelfSupervisedModel",
    "StudentTeacher",
    "TokenFeature",
    "VisionTransformer",
]
