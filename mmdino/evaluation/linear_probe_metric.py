"""Accuracy of a linear evaluation with several learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmdino.registry import METRICS


@METRICS.register_module()
class LinearProbeMetric(BaseMetric):
    """Accuracy of each probe of a ``LinearProbeHead``, and of the best one.

    Logs which rate was best, and whether it is the largest or smallest of those tried.

    Raises:
        ValueError: From the run, if samples carry no probe scores or no labels.

    Example:
        >>> val_evaluator = dict(type="mmdino.LinearProbeMetric")
    """

    default_prefix = "linear"

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collects the rank of each image's label among the scores of each probe."""
        self.results += label_ranks(data_samples)

    def compute_metrics(self, results: list[dict[float, int]]) -> dict[str, float]:
        """Computes accuracies.

        Args:
            results: A dict of rate to rank of the label for each image.

        Returns:
            Percentages: ``top1`` and ``top5`` of the rate with the best top-1, ``lr0.01_top1`` and
            ``lr0.01_top5`` of each. With five classes or fewer, top-5 is 100.
        """
        if not results:
            raise ValueError(
                "LinearProbeMetric got no images: the data set, or its loader, is empty. Check "
                "drop_last, which must be False."
            )
        accuracies = {
            rate: tuple(
                100.0 * sum(ranks[rate] < k for ranks in results) / len(results) for k in (1, 5)
            )
            for rate in results[0]
        }
        best = max(accuracies, key=lambda rate: accuracies[rate])
        print_log(
            f"Linear probes: {len(results)} images, best learning rate {best:g} (for a batch of "
            f"256) of {', '.join(f'{rate:g}' for rate in accuracies)}.{_advice(best, accuracies)}",
            logger="current",
        )
        metrics = {"top1": accuracies[best][0], "top5": accuracies[best][1]}
        for rate, (top1, top5) in accuracies.items():
            metrics |= {f"lr{rate:g}_top1": top1, f"lr{rate:g}_top5": top5}
        return metrics


def label_ranks(samples: Sequence[dict]) -> list[dict[float, int]]:
    """Returns for each image how many other classes score at least as high as its label.

    NaN counts as higher, so a probe that diverged is never right. If all probes give NaN, that is
    no accuracy of theirs.

    Args:
        samples: B samples, each with ``gt_label`` and ``probe_scores``, a dict of rate to logits
            (C,).

    Returns:
        A dict of rate to rank for each image.

    Raises:
        ValueError: If a sample has no scores or no label, if its label is not among the classes, if
            the probes differ between samples, or if none has finite scores.
    """
    for sample in samples:
        for field, missing in (("probe_scores", "probe scores"), ("gt_label", "a label")):
            if sample.get(field) is None:
                raise ValueError(
                    f"LinearProbeMetric got {sample.get('img_path')} without {missing}. It needs "
                    "model.head.type='mmdino.LinearProbeHead' and data sets with with_label=True."
                )
    if not samples:
        return []
    rates = list(samples[0]["probe_scores"])
    shapes = {
        (
            tuple(sample["probe_scores"]),
            *{scores.shape for scores in sample["probe_scores"].values()},
        )
        for sample in samples
    }
    if not rates or len(shapes) != 1:
        raise ValueError(
            f"LinearProbeMetric needs scores of the same probes and classes of every image, got "
            f"{len(shapes)} kinds, the first with the rates {rates}."
        )
    scores = torch.stack([torch.stack([*sample["probe_scores"].values()]) for sample in samples])
    labels = torch.tensor([int(sample["gt_label"]) for sample in samples], device=scores.device)
    classes = scores.shape[2]
    lost = scores.isnan().any(dim=2).all(dim=1)
    for sample, label, is_lost in zip(samples, labels.tolist(), lost.tolist(), strict=True):
        if not 0 <= label < classes:
            raise ValueError(
                f"The label {label} of {sample.get('img_path')} is not one of the {classes} "
                f"classes of the probes, 0 to {classes - 1}. Set model.head.num_classes to those "
                "of the data set."
            )
        if is_lost:
            raise ValueError(
                f"The features are not finite, or all probes diverged: no score of "
                f"{sample.get('img_path')} is a number. Check the backbone's weights, and try "
                "lower rates with model.head.lrs."
            )
    own = scores.gather(2, labels.view(-1, 1, 1).expand(-1, len(rates), 1))
    ranks = (~torch.lt(scores, own)).sum(dim=2) - 1
    return [dict(zip(rates, image, strict=True)) for image in ranks.tolist()]


def _advice(best: float, accuracies: dict[float, Any]) -> str:
    end = {max(accuracies): "higher", min(accuracies): "lower"}.get(best)
    if len(accuracies) == 1 or end is None:
        return ""
    return f" This is an end of the range: try {end} rates with model.head.lrs."
