"""Linear probes have equal initial weights and independent gradients."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch.nn import functional


def build(**options):
    torch.manual_seed(0)
    defaults = {"in_channels": 6, "num_classes": 3, "lrs": (0.01, 0.1)}
    return MODELS.build({"type": "mmdino.LinearProbeHead", **defaults, **options})


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.fixture
def feats():
    return (torch.randn(4, 6, generator=torch.Generator().manual_seed(1)),)


def test_start_is_the_authors_and_the_same_for_all_rates():
    first, second = build(in_channels=400, num_classes=50).probes
    assert first.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert first.bias.abs().max() == 0
    assert torch.equal(first.weight, second.weight)
    assert first.weight is not second.weight


def test_loss_is_the_sum_of_each_probes_own(feats):
    head = build()
    head.probes[1].weight.data.mul_(2)
    losses = head.loss(feats, samples(0, 1, 2, 2))
    target = torch.tensor([0, 1, 2, 2])
    alone = [functional.cross_entropy(probe(feats[0]), target) for probe in head.probes]
    torch.testing.assert_close(losses["loss"], sum(alone))
    torch.testing.assert_close(losses["lowest_ce"], min(alone).detach())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_probe_that_diverged_leaves_the_others_alone(feats, value):
    gradients = []
    for diverges in (False, True):
        head = build()
        if diverges:
            head.probes[1].weight.data.fill_(value)
        loss = head.loss(feats, samples(0, 1, 2, 2))["loss"]
        assert loss.isfinite()
        loss.backward()
        gradients.append([probe.weight.grad for probe in head.probes])
    torch.testing.assert_close(gradients[1][0], gradients[0][0], rtol=0, atol=0)
    assert gradients[1][1].eq(0).all()


def test_prediction_has_the_logits_of_each_rate(feats):
    head = build()
    head.probes[1].bias.data.fill_(7)
    predicted = head.predict(feats, samples(0, 1, 2, 2))
    assert list(predicted[0].probe_scores) == [0.01, 0.1]
    for rate, probe in zip(head.lrs, head.probes, strict=True):
        torch.testing.assert_close(predicted[3].probe_scores[rate], probe(feats[0])[3])
    assert predicted[3].gt_label.item() == 2


def test_a_single_rate_may_stand_alone():
    assert build(lrs=0.5).lrs == (0.5,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes=0; .* at least 1"),
        ({"in_channels": -1}, "in_channels=-1"),
        ({"lrs": ()}, "one or more rates that differ"),
        ({"lrs": (0.1, 0.0)}, r"lrs\[1\]=0.0; .* above 0"),
        ({"lrs": (0.1, 0.1)}, "one or more rates that differ"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_labels_that_are_no_class_of_the_head_are_named(feats):
    with pytest.raises(ValueError, match=r"Labels \[3, 9\] are out of range for num_classes=3"):
        build().loss(feats, samples(0, 3, 9, 3))


def test_missing_labels_are_named(feats):
    unlabelled = DataSample(metainfo={"img_path": "cat.jpg"})
    with pytest.raises(ValueError, match=r"1 of 4 images have no label, such as cat.jpg"):
        build().loss(feats, [*samples(0, 1, 2), unlabelled])


def test_features_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"in_channels=6, but got features of shape \(8,\)"):
        build()((torch.zeros(2, 8),))
