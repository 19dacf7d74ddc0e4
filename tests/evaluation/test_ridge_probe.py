"""The classifier in closed form against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from sklearn.linear_model import RidgeClassifier

from mmdino.evaluation import ridge_probe
from mmdino.evaluation.ridge_probe import ridge_accuracy


@pytest.fixture
def data():
    """Features and classes of a bank of 90 and of 60 queries, of three overlapping classes."""
    torch.manual_seed(0)
    labels = torch.arange(150) % 3
    features = torch.randn(150, 8) + 1.5 * torch.eye(8)[labels]
    return features[90:], labels[90:], features[:90], labels[:90]


@pytest.mark.parametrize("chunk", [7, 1000])
def test_accuracy_is_that_of_scikit_learn(data, monkeypatch, chunk):
    monkeypatch.setattr(ridge_probe, "CHUNK", chunk)
    queries, query_labels, bank, bank_labels = data
    unit = [torch.nn.functional.normalize(part.double(), dim=1).numpy() for part in (bank, queries)]
    variance = np.square(unit[0] - unit[0].mean(0)).sum(0).mean()
    expected = RidgeClassifier(alpha=0.1 * variance).fit(unit[0], bank_labels)
    accuracy = ridge_accuracy(queries, query_labels, bank, bank_labels, ridge=0.1)
    assert accuracy == pytest.approx(100 * expected.score(unit[1], query_labels))
    assert 50 < accuracy < 100


def test_equal_features_get_the_most_frequent_class():
    labels = torch.tensor([0, 1, 1, 1])
    bank = torch.ones(4, 3)
    assert ridge_accuracy(bank, labels, bank, labels) == 75


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan")])
def test_a_penalty_that_is_not_positive_is_refused(ridge):
    with pytest.raises(ValueError, match="ridge"):
        METRICS.build({"type": "mmdino.RidgeProbeMetric", "ridge": ridge})
