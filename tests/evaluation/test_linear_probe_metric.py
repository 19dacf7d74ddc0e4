"""Accuracy of each probe, and of the best."""

from __future__ import annotations

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS


def sample(label, **scores):
    """A sample whose probes of rates 0.1, 0.2, ... scored the classes so."""
    rates = {float(name.replace("lr_", "0.")): torch.tensor(row) for name, row in scores.items()}
    return {"gt_label": torch.tensor([label]), "probe_scores": rates}


def evaluate(*batches):
    metric = METRICS.build({"type": "mmdino.LinearProbeMetric"})
    for batch in batches:
        metric.process(None, batch)
    return metric.evaluate(sum(map(len, batches)))


def test_best_probe_is_reported_beside_all():
    right, wrong = [0.0, 9, 1, 2, 3, 4, 5], [9.0, 0, 1, 2, 3, 4, 5]
    found = evaluate(
        [sample(1, lr_1=wrong, lr_2=right), sample(1, lr_1=wrong, lr_2=right)],
        [sample(1, lr_1=right, lr_2=right), sample(1, lr_1=right, lr_2=wrong)],
    )
    assert found == {
        "linear/top1": 75.0,
        "linear/top5": 75.0,
        "linear/lr0.1_top1": 50.0,
        "linear/lr0.1_top5": 50.0,
        "linear/lr0.2_top1": 75.0,
        "linear/lr0.2_top5": 75.0,
    }


def test_fifth_place_counts_for_top5_and_sixth_does_not():
    scores = [float(value) for value in range(7, 0, -1)]
    found = evaluate([sample(4, lr_1=scores), sample(5, lr_1=scores)])
    assert (found["linear/top1"], found["linear/top5"]) == (0.0, 50.0)


def test_fewer_than_five_classes_work():
    found = evaluate([sample(0, lr_1=[1.0, 2.0]), sample(1, lr_1=[1.0, 2.0])])
    assert (found["linear/top1"], found["linear/top5"]) == (50.0, 100.0)


def test_a_probe_that_diverged_is_never_right():
    found = evaluate([sample(0, lr_1=[float("nan")] * 8, lr_2=[1.0] + [0.0] * 7)])
    assert (found["linear/lr0.1_top1"], found["linear/lr0.1_top5"]) == (0.0, 0.0)
    assert found["linear/top1"] == 100.0


@pytest.mark.parametrize(
    ("best", "said"),
    [("lr_1", "try lower rates"), ("lr_2", "of 0.1, 0.2, 0.3."), ("lr_3", "higher")],
)
def test_log_names_the_best_rate_and_the_end_of_the_range(caplog, best, said):
    scores = {name: [0.0, 1.0] for name in ("lr_1", "lr_2", "lr_3")}
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO, logger=logger.name)
    evaluate([sample(0, **{**scores, best: [1.0, 0.0]})])
    logger.removeHandler(caplog.handler)
    assert f"best learning rate 0.{best[-1]} (for a batch of 256)" in caplog.text
    assert said in caplog.text
    assert ("end of the range" in caplog.text) == (best != "lr_2")


@pytest.mark.parametrize(("field", "said"), [("probe_scores", "scores"), ("gt_label", "a label")])
def test_what_is_missing_is_named(field, said):
    broken = {**sample(0, lr_1=[1.0, 0.0]), "img_path": "cat.jpg"}
    del broken[field]
    with pytest.raises(ValueError, match=rf"got cat.jpg without .*{said}.*with_label=True"):
        evaluate([broken])
