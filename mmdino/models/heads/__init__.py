"""Projection heads."""

from mmdino.models.heads.dino_head import DINOHead

__all__ = ["DINOHead"]
