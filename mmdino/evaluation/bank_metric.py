"""What metrics that compare queries with a bank of labelled features have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor


class BankAndQueries(NamedTuple):
    """Features with their classes.

    Attributes:
        features: Features (N, D) of the bank.
        labels: Their classes (N,).
        queries: Features (Q, D), on the device and in the precision of the bank.
        query_labels: Their classes (Q,).
    """

    features: Tensor
    labels: Tensor
    queries: Tensor
    query_labels: Tensor


class BankMetric(BaseMetric):
    """A metric that ``KNNValLoop`` gives a bank, and then the queries."""

    _bank: tuple[Tensor, Tensor] | None = None

    def set_bank(self, features: Tensor, labels: Tensor) -> None:
        """Sets the labelled features (N, D) that the next evaluation uses.

        Only the main process needs them.
        """
        self._bank = (features, labels)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collects the features and labels of a batch of queries."""
        # A feature is a view of all tokens of its batch, which would stay in memory, and which
        # several ranks would each write out with every feature. Where an image is unreadable,
        # another one stands in, which comes by itself too; mmengine, which joins the results of
        # the ranks, counts on one for each place that is not None.
        self.results += [
            () if sample.get("skipped_paths") else (sample["feature"].clone(), label_of(sample))
            for sample in data_samples
        ]

    def take(self, results: list[tuple[Tensor, int] | tuple[()]]) -> BankAndQueries:
        """Returns bank and queries, and lets go of the bank.

        Args:
            results: Features (D,) and classes of the queries; empty for one that is unreadable.

        Raises:
            ValueError: If there are no queries.
        """
        assert self._bank is not None, "KNNValLoop fills the bank before the queries"
        features, labels = self._bank
        # Otherwise a bank of ImageNet (2 GB) would stay in memory until the next validation.
        self._bank = None
        readable = [result for result in results if result]
        if not readable:
            raise ValueError(
                f"{type(self).__name__} got no query images: val_dataloader is empty, or none of "
                "its images can be read. Check its data set, and drop_last, which must be False."
            )
        queries = torch.stack([feature for feature, _ in readable]).to(features)
        query_labels = torch.tensor([label for _, label in readable])
        return BankAndQueries(features, labels, queries, query_labels)


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
