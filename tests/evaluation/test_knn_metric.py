"""The metric counts as the function does, and says what it needs."""

from __future__ import annotations

import logging
import weakref

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmpretrain.structures import DataSample

from mmdino.evaluation.knn import knn_accuracy


def build(**options):
    return METRICS.build({"type": "mmdino.KNNMetric", **options})


def samples(features, labels):
    for feature, label in zip(features, labels, strict=True):
        sample = DataSample(metainfo={"img_path": "a.jpg"}).set_gt_label(int(label))
        sample.set_field(feature, "feature")
        yield sample.to_dict()


def test_metrics_are_those_of_the_function_and_of_the_best_k(golden):
    arrays = golden("knn")
    metric = build(k=(5, 20), temperature=0.07)
    metric.set_bank(arrays["train_features"], arrays["train_labels"])
    metric.process(None, list(samples(arrays["test_features"], arrays["test_labels"])))
    metrics = metric.evaluate(len(arrays["test_labels"]))
    expected = knn_accuracy(
        arrays["test_features"],
        arrays["test_labels"],
        arrays["train_features"],
        arrays["train_labels"],
        (5, 20),
    )
    assert metrics["knn/k5_top1"] == expected[5][0] == 59.5
    assert metrics["knn/k20_top5"] == expected[20][1] == 98.5
    assert metrics["knn/top1"] == expected[20][0] == 66.0


def test_the_bank_is_let_go_after_the_evaluation(golden):
    arrays = golden("knn")
    metric = build(k=5)
    bank = arrays["train_features"].clone()
    held = weakref.ref(bank)
    metric.set_bank(bank, arrays["train_labels"])
    metric.process(None, list(samples(arrays["test_features"], arrays["test_labels"])))
    del bank
    metric.evaluate(len(arrays["test_labels"]))
    assert held() is None, "a bank of ImageNet takes 2 GB"


def test_features_are_kept_without_the_tokens_that_they_are_views_of():
    metric = build()
    tokens = torch.randn(4, 197, 12)
    metric.process(None, list(samples(tokens[:, 0], [0, 1, 2, 3])))
    for feature, _ in metric.results:
        assert feature.untyped_storage().nbytes() == 12 * feature.element_size()


@pytest.mark.parametrize("ks", [(5, 200), (5, 8)])
def test_a_k_above_the_bank_is_lowered_with_a_warning(golden, caplog, ks):
    arrays = golden("knn")
    metric = build(k=ks)
    metric.set_bank(arrays["train_features"][:8], arrays["train_labels"][:8])
    metric.process(None, list(samples(arrays["test_features"], arrays["test_labels"])))
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    metrics = metric.evaluate(len(arrays["test_labels"]))
    logger.removeHandler(caplog.handler)
    warnings = [row.message for row in caplog.records if row.levelno == logging.WARNING]
    assert "test images have labels that the bank lacks" in warnings[0]
    if 200 in ks:
        assert len(warnings) == 2
        assert "k 200 is lowered to 8, the number of images in the k-NN bank" in warnings[1]
    else:
        assert len(warnings) == 1
    assert set(metrics) >= {f"knn/k{k}_top1" for k in ks}


def test_samples_without_a_label_are_named():
    sample = DataSample(metainfo={"img_path": "images/7.jpg"})
    sample.set_field(torch.zeros(4), "feature")
    with pytest.raises(ValueError, match=r"images/7\.jpg has none.*with_label=True"):
        build().process(None, [sample.to_dict()])


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"k": ()}, {"k": "20"}, {"k": [20.5]}, {"temperature": -0.07}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"invalid (k|temperature)="):
        build(**options)
