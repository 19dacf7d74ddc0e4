"""Necks between backbone and head."""

from mmdino.models.necks.batch_norm_neck import BatchNormNeck
from mmdino.models.necks.token_feature import TokenFeature

__all__ = ["BatchNormNeck", "TokenFeature"]
