"""Weighted k-NN accuracy as a metric."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.knn import (
    KS,
    TEMPERATURE,
    check_knn_options,
    knn_accuracy,
    unknown_labels,
)
from mmdino.registry import METRICS


@METRICS.register_module()
class KNNMetric(BaseMetric):
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
        self._bank: tuple[Tensor, Tensor] | None = None

    def set_bank(self, features: Tensor, labels: Tensor) -> None:
        """Sets the labelled features (N, D) that vote in the next evaluation.

        Only the main process needs them.
        """
        self._bank = (features, labels)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collects the features and labels of a batch of queries."""
        # A feature is a view of all tokens of its batch, which would stay in memory, and which
        # several ranks would each write out with every feature.
        self.results += [(sample["feature"].clone(), label_of(sample)) for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns percentages: ``top1`` and ``top5`` of the best k, ``k20_top1`` of each k."""
        assert self._bank is not None, "KNNValLoop fills the bank before the queries"
        features, labels = self._bank
        if not results:
            raise ValueError(
                "k-NN got no query images: val_dataloader is empty. Check its data set, and "
                "drop_last, which must be False."
            )
        query_labels = torch.tensor([label for _, label in results])
        if unknown := unknown_labels(query_labels, labels.cpu()):
            print_log(unknown, logger="current", level=logging.WARNING)
        if lowered := [k for k in self.ks if k > len(labels)]:
            print_log(
                f"k {', '.join(map(str, lowered))} is lowered to {len(labels)}, the number of "
                "images in the k-NN bank. Use a larger bank or a smaller k.",
                logger="current",
                level=logging.WARNING,
            )
        queries = torch.stack([feature for feature, _ in results]).to(features)
        accuracies = knn_accuracy(
            queries,
            query_labels,
            features,
            labels,
            self.ks,
            self.temperature,
        )
        # Otherwise a bank of ImageNet (2 GB) would stay in memory until the next validation.
        self._bank = None
        best = max(accuracies, key=lambda k: accuracies[k])
        print_log(
            f"Weighted k-NN: {len(labels)} bank and {len(results)} query images, "
            f"{int(labels.max()) + 1} classes, temperature {self.temperature}, best k {best}.",
            logger="current",
        )
        metrics = {"top1": accuracies[best][0], "top5": accuracies[best][1]}
        for k, (top1, top5) in accuracies.items():
            metrics |= {f"k{k}_top1": top1, f"k{k}_top5": top5}
        return metrics


def label_of(sample: dict) -> int:
    """Returns the class of a sample.

    Raises:
        ValueError: If it has no label.
    """
    label = sample.get("gt_label")
    if label is None:
        raise ValueError(
            f"k-NN needs labels, but the sample of {sample.get('img_path')} has none. Give the "
            "data sets of val_dataloader and val_cfg.bank_dataloader with_label=True, or set "
            "val_dataloader, val_cfg and val_evaluator to None."
        )
    return int(label)
