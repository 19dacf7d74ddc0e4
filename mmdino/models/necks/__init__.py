"""What makes one feature of a backbone's outputs."""

from mmdino.models.necks.batch_norm_neck import BatchNormNeck
from mmdino.models.necks.token_feature import TokenFeature

__all__ = ["BatchNormNeck", "TokenFeature"]
