"""Losses."""

from mmdino.models.losses.centered_loss import CenteredLoss
from mmdino.models.losses.dino_loss import DINOLoss

__all__ = ["CenteredLoss", "DINOLoss"]
