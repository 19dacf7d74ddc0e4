"""Losses."""

from mmdino.models.losses.dino_loss import DINOLoss

__all__ = ["DINOLoss"]
