"""Losses."""

from mmdino.models.losses.barlow_twins_loss import BarlowTwinsLoss
from mmdino.models.losses.byol_loss import BYOLLoss
from mmdino.models.losses.centered_loss import CenteredLoss
from mmdino.models.losses.dino_loss import DINOLoss
from mmdino.models.losses.dino_mse_loss import DINOMSELoss
from mmdino.models.losses.feature_loss import FeatureLoss
from mmdino.models.losses.gram_loss import GramLoss
from mmdino.models.losses.ibot_loss import IBOTLoss
from mmdino.models.losses.koleo_loss import KoLeoLoss
from mmdino.models.losses.mocov3_loss import MoCoV3Loss
from mmdino.models.losses.simclr_loss import SimCLRLoss
from mmdino.models.losses.simsiam_loss import SimSiamLoss
from mmdino.models.losses.swav_loss import SwAVLoss

__all__ = [
    "BYOLLoss",
    "BarlowTwinsLoss",
    "CenteredLoss",
    "DINOLoss",
    "DINOMSELoss",
    "FeatureLoss",
    "GramLoss",
    "IBOTLoss",
    "KoLeoLoss",
    "MoCoV3Loss",
    "SimCLRLoss",
    "SimSiamLoss",
    "SwAVLoss",
]
