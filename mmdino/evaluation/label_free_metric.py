"""Quality of features without labels as a metric."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.label_free import lidar, neighbor_overlap, rankme
from mmdino.registry import METRICS
from mmdino.utils.numbers import require_number


@METRICS.register_module()
class LabelFreeMetric(BaseMetric):
    """Says whether features improve where there are no labels.

    With ``ViewValLoop``, which gives several views of each image: the fraction of nearest
    neighbours that two views of an image share, and RankMe and LiDAR, effective ranks of the
    features. With any other loop, one feature an image: RankMe alone.

    Compare ``neighbor_overlap`` with that of the untrained network: it rises as features learn what
    an image shows. Ranks of untrained features are high and fall at first; between trained networks
    of one width, higher ones go with better linear probes (Garrido et al. 2023; Thilak et al.
    2024), and a fall later in a run is a collapse of single directions. docs/results.md has runs.

    Args:
        k: Number of neighbours that two views are asked for.
        few_images: Whether fewer images than the features have numbers are meant. Effective ranks
            are then at most the number of images; without this, a warning says so.
        **kwargs: mmengine's other arguments.

    Raises:
        ValueError: If k is no whole number of at least 1; from the run, if there are too few images
            or features are not finite.

    Example:
        >>> val_cfg = dict(type="mmdino.ViewValLoop")
        >>> val_evaluator = dict(type="mmdino.LabelFreeMetric")
    """

    default_prefix = "features"

    def __init__(self, k: int = 10, few_images: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_number("LabelFreeMetric", "k", k, least=1, whole=True)
        self.k = k
        self.few_images = few_images
        self._has_warned = False

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collects the features of a batch: (D,) of each image, or (V, D) of its views."""
        # Clones, since a feature is a view of all tokens of its batch.
        self.results += [torch.atleast_2d(sample["feature"]).clone() for sample in data_samples]

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Computes the metrics.

        Args:
            results: Features (V, D) of the views of each of N images.

        Returns:
            ``rankme`` of the first views; with two views or more ``lidar``, and
            ``neighbor_overlap`` of the first two, in percent.
        """
        if len(results) < 2 or (len(results) <= self.k and len(results[0]) > 1):
            raise ValueError(
                f"LabelFreeMetric got {len(results)} images and k={self.k}; it needs more images "
                "than neighbours, a few hundred at least. Check the data set of val_dataloader."
            )
        features = torch.stack(results).float()
        if not features.isfinite().all():
            raise ValueError(
                "The features are not finite. Check the network's weights: training may have "
                "diverged."
            )
        images, views, width = features.shape
        if images < width and not self.few_images and not self._has_warned:
            self._has_warned = True
            print_log(
                f"The effective rank of {images} images is at most {images}, with features of "
                f"width {width}. Give val_dataloader more images, or set few_images=True.",
                logger="current",
                level=logging.WARNING,
            )
        metrics = {"rankme": rankme(features[:, 0])}
        if views > 1:
            metrics["lidar"] = lidar(features)
            overlap = neighbor_overlap(features[:, 0], features[:, 1], self.k)
            metrics["neighbor_overlap"] = 100 * overlap
        return metrics
