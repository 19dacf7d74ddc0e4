"""Accuracy of a linear classifier on the features of a bank."""

from __future__ import annotations

from typing import Any

from mmdino.evaluation.bank_metric import BankMetric
from mmdino.evaluation.ridge_probe import RIDGE, ridge_accuracy
from mmdino.registry import METRICS
from mmdino.utils.numbers import require_number


@METRICS.register_module()
class RidgeProbeMetric(BankMetric):
    """Accuracy of a linear classifier that is fitted in closed form at each validation.

    A linear probe to watch during training, beside k-NN: ridge regression on one-hot labels of the
    bank's features takes seconds, has no rate to choose and nothing to resume. Accuracies are below
    those of the linear evaluation (configs/linear), which trains on augmented images.

    ``KNNValLoop`` fills the bank and then processes the queries.

    Args:
        ridge: Penalty on the squared weights, as a fraction of the mean variance of the features.
        **kwargs: mmengine's other arguments.

    Raises:
        ValueError: If the penalty is not above 0, or samples have no labels.

    Example:
        >>> val_evaluator = [dict(type="mmdino.KNNMetric"), dict(type="mmdino.RidgeProbeMetric")]
    """

    default_prefix = "ridge"

    def __init__(self, ridge: float = RIDGE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_number("RidgeProbeMetric", "ridge", ridge, above=0)
        self.ridge = ridge

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns ``top1`` in percent."""
        features, labels, queries, query_labels = self.take(results)
        return {"top1": ridge_accuracy(queries, query_labels, features, labels, self.ridge)}
