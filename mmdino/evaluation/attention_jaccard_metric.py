"""The Jaccard index of attention masks as a metric."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mmdino.evaluation.attention import FRACTION, attention_mask, check_fraction
from mmdino.evaluation.jaccard import object_jaccards, summarise
from mmdino.registry import METRICS


@METRICS.register_module()
class AttentionJaccardMetric(BaseMetric):
    """Jaccard index between the class token's attention and object masks (Caron et al., figure 4).

    A sample has ``attention`` (heads, h, w), as ``class_token_attention`` gives it, and
    ``gt_seg_map`` (H, W), where 0 is background, 255 void and each other id an object;
    ``tools/attention_jaccard.py`` makes such samples. For each head the smallest set of patches
    that holds ``fraction`` of its attention is compared with each object.

    Metrics, in percent: ``best_head``, which the paper reports, uses the best head of each object;
    ``best_single_head`` the one head that is best over the whole set; ``mean_head`` is the mean of
    all. Images without an object are left out and counted.

    Args:
        fraction: Fraction of attention mass in a mask; 0.6 in the paper.
        object_ids: Ids that objects may have; None for any.
        **kwargs: mmengine's other arguments.

    Raises:
        ValueError: If a mask has an id that is not allowed, or no image has an object.

    Example:
        >>> metric = dict(
        ...     type="mmdino.AttentionJaccardMetric", fraction=0.6, object_ids=range(1, 21))
    """

    default_prefix = "attention_jaccard"

    def __init__(
        self,
        fraction: float = FRACTION,
        object_ids: Collection[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_fraction(fraction)
        self.fraction = fraction
        self.object_ids = object_ids

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compares the attention of a batch with its objects."""
        for sample in data_samples:
            masks = attention_mask(torch.as_tensor(sample["attention"]).cpu(), self.fraction)
            name = f"the mask of {sample.get('img_path', 'an image without a name')}"
            self.results.append(object_jaccards(masks, sample["gt_seg_map"], self.object_ids, name))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Returns percentages, the head of ``best_single_head``, and the counts of images."""
        return dict(summarise(results)._asdict())
