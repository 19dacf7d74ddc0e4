"""Networks and losses."""

from mmdino.models.backbones import DINOVisionTransformer
from mmdino.models.dino import DINO
from mmdino.models.heads import DINOHead
from mmdino.models.losses import DINOLoss
from mmdino.models.preprocessors import MultiViewPreprocessor

__all__ = ["DINO", "DINOHead", "DINOLoss", "DINOVisionTransformer", "MultiViewPreprocessor"]
