"""The metrics, which are registered when this module is imported."""

from mmdino.evaluation.attention_jaccard_metric import AttentionJaccardMetric
from mmdino.evaluation.knn_metric import KNNMetric
from mmdino.evaluation.label_free_metric import LabelFreeMetric
from mmdino.evaluation.linear_probe_metric import LinearProbeMetric
from mmdino.evaluation.ridge_probe_metric import RidgeProbeMetric

__all__ = [
    "AttentionJaccardMetric",
    "KNNMetric",
    "LabelFreeMetric",
    "LinearProbeMetric",
    "RidgeProbeMetric",
]
