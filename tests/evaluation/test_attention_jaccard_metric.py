"""The metric thresholds attention and compares it with objects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

# At a fraction of 0.6 the first head keeps the left patch, the second both.
ATTENTION = torch.tensor([[[0.55, 0.15]], [[0.3, 0.4]]])
LEFT = np.array([[1, 1, 0, 0]], np.uint8)
EVERYWHERE = np.array([[2, 2, 2, 2]], np.uint8)
NOWHERE = np.array([[0, 0, 0, 255]], np.uint8)


def build(**options):
    return METRICS.build({"type": "mmdino.AttentionJaccardMetric", **options})


def samples(*seg_maps):
    return [
        {"attention": ATTENTION, "gt_seg_map": seg_map, "img_path": f"{index}.jpg"}
        for index, seg_map in enumerate(seg_maps)
    ]


def test_metrics_of_a_set():
    metric = build()
    metric.process(None, samples(LEFT, LEFT, EVERYWHERE))
    metric.process(None, samples(NOWHERE))
    assert metric.evaluate(4) == {
        "attention_jaccard/best_head": pytest.approx(100),
        "attention_jaccard/best_single_head": pytest.approx(100 * 2.5 / 3),
        "attention_jaccard/single_head": 0,
        "attention_jaccard/mean_head": pytest.approx(75),
        "attention_jaccard/num_images": 3,
        "attention_jaccard/num_objects": 3,
        "attention_jaccard/num_without_object": 1,
    }


def test_the_fraction_is_an_option():
    metric = build(fraction=0.99)
    metric.process(None, samples(LEFT))
    assert metric.evaluate(1)["attention_jaccard/best_head"] == 50


def test_unknown_ids_are_named_with_their_image():
    with pytest.raises(ValueError, match=r"ids 2 in the mask of 1\.jpg are unknown"):
        build(object_ids=[1]).process(None, samples(LEFT, EVERYWHERE))


def test_fraction_out_of_range_is_refused_at_once():
    with pytest.raises(ValueError, match="invalid fraction=60"):
        build(fraction=60)
