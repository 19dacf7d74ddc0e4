"""Networks, losses and methods."""

from mmdino.models.backbones import Features, FrozenBackbone, ResNet, VisionTransformer
from mmdino.models.heads import DINOHead, LinearProbeHead
from mmdino.models.losses import (
    BarlowTwinsLoss,
    BYOLLoss,
    CenteredLoss,
    DINOLoss,
    DINOMSELoss,
    FeatureLoss,
    GramLoss,
    IBOTLoss,
    KoLeoLoss,
    MoCoV3Loss,
    SimCLRLoss,
    SimSiamLoss,
    SwAVLoss,
)
from mmdino.models.necks import BatchNormNeck, TokenFeature
from mmdino.models.preprocessors import MultiViewPreprocessor
from mmdino.models.selfsup import (
    DINO,
    DINOv2,
    FeatureDistillation,
    GramAnchor,
    SelfSupervisedModel,
    StudentTeacher,
)

__all__ = [
    "DINO",
    "BYOLLoss",
    "BarlowTwinsLoss",
    "BatchNormNeck",
    "CenteredLoss",
    "DINOHead",
    "DINOLoss",
    "DINOMSELoss",
    "DINOv2",
    "FeatureDistillation",
    "FeatureLoss",
    "Features",
    "FrozenBackbone",
    "GramAnchor",
    "GramLoss",
    "IBOTLoss",
    "KoLeoLoss",
    "LinearProbeHead",
    "MoCoV3Loss",
    "MultiViewPreprocessor",
    "ResNet",
    "SelfSupervisedModel",
    "SimCLRLoss",
    "SimSiamLoss",
    "StudentTeacher",
    "SwAVLoss",
    "TokenFeature",
    "VisionTransformer",
]
