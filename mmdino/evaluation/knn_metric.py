"""Weighted k-NN accuracy as a metric."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from mmdino.evaluation.bank_metric import BankMetric
from mmdino.evaluation.knn import (
    KS,
    TEMPERATURE,
    check_knn_options,
    knn_accuracy,
    unknown_labels,
)
from mmdino.registry import METRICS


@METRICS.register_module()
class KNNMetric(BankMetric):
    """Accuracy of weighted k-NN with the features of a bank (Caron et al. 2021, appendix E).

    ``KNNValLoop`` fills the bank and then processes the queries.

    Args:
        k: Numbers of neighbours; 20 is best in the paper. A k above the size of the bank is lowered
            to it, with a warning.
        temperature: Temperature of the votes exp(similarity / temperature).
        **kwargs: mmengine's other arguments.

    Raises:
        ValueError: If k or the temperature is not positive, or samples have no labels.

    Example:
        >>> val_evaluator = dict(type="mmdino.KNNMetric", k=(10, 20), temperature=0.07)
    """

    default_prefix = "knn"

    def __init__(
        self,
        k: int | Sequence[int] = KS,
        temperature: float = TEMPERATURE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ks = tuple(k) if isinstance(k, (list, tuple)) else (k,)
        check_knn_options(self.ks, temperature)
        self.temperature = temperature

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns percentages: ``top1`` and ``top5`` of the best k, ``k20_top1`` of each k."""
        features, labels, queries, query_labels = self.take(results)
        if unknown := unknown_labels(query_labels, labels.cpu()):
            print_log(unknown, logger="current", level=logging.WARNING)
        if lowered := [k for k in self.ks if k > len(labels)]:
            print_log(
                f"k {', '.join(map(str, lowered))} is lowered to {len(labels)}, the number of "
                "images in the k-NN bank. Use a larger bank or a smaller k.",
                logger="current",
                level=logging.WARNING,
            )
        accuracies = knn_accuracy(
            queries,
            query_labels,
            features,
            labels,
            self.ks,
            self.temperature,
        )
        best = max(accuracies, key=lambda k: accuracies[k])
        print_log(
            f"Weighted k-NN: {len(labels)} bank and {len(queries)} query images, "
            f"{int(labels.max()) + 1} classes, temperature {self.temperature}, best k {best}.",
            logger="current",
        )
        metrics = {"top1": accuracies[best][0], "top5": accuracies[best][1]}
        for k, (top1, top5) in accuracies.items():
            metrics |= {f"k{k}_top1": top1, f"k{k}_top5": top5}
        return metrics
