"""Projection heads and classifiers."""

from mmdino.models.heads.dino_head import DINOHead
from mmdino.models.heads.linear_probe_head import LinearProbeHead

__all__ = ["DINOHead", "LinearProbeHead"]
