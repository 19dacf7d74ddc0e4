"""What is measured without training anything further."""

from mmdino.evaluation.knn_metric import KNNMetric

__all__ = ["KNNMetric"]
