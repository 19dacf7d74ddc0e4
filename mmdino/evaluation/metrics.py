"""The metrics, which are registered when this module is imported."""

from mmdino.evaluation.attention_jaccard_metric import AttentionJaccardMetric
from mmdino.evaluation.knn_metric import KNNMetric
from mmdino.evaluation.linear_probe_metric import LinearProbeMetric

__all__ = ["AttentionJaccardMetric", "KNNMetric", "LinearProbeMetric"]
