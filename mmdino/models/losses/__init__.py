"""Losses."""

from mmdino.models.losses.centered_loss import CenteredLoss
from mmdino.models.losses.dino_loss import DINOLoss
from mmdino.models.losses.dino_mse_loss import DINOMSELoss

__all__ = ["CenteredLoss", "DINOLoss", "DINOMSELoss"]
