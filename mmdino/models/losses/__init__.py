"""Losses."""

from mmdino.models.losses.centered_loss import CenteredLoss
from mmdino.models.losses.dino_loss import DINOLoss
from mmdino.models.losses.swav_loss import SwAVLoss

__all__ = ["CenteredLoss", "DINOLoss", "SwAVLoss"]
