"""Distances and whitening equal the reference's and plain formulas."""

from __future__ import annotations

import pytest
import torch

from mmdino.models.losses.feature_loss import FeatureLoss, whiten


def test_smooth_l1_and_its_gradient_equal_the_reference(golden):
    expected = golden("distillation", "smooth_l1/")
    prediction = expected["prediction"].requires_grad_()
    loss = FeatureLoss(beta=float(expected["beta"]))(prediction, expected["target"])["loss"]
    loss.backward()
    torch.testing.assert_close(loss, expected["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(prediction.grad, expected["grad"], rtol=0, atol=1e-9)


def test_whitening_equals_the_reference(golden):
    expected = golden("distillation", "whiten/")
    found = whiten(expected["features"], "layer_norm")
    torch.testing.assert_close(found, expected["whitened"], rtol=0, atol=1e-9)


def test_other_kinds_are_the_plain_formulas():
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 5, 4, dtype=torch.float64).requires_grad_().unbind()
    torch.testing.assert_close(FeatureLoss("mse")(x, y)["loss"], (x - y).square().mean())
    cosines = (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))
    torch.testing.assert_close(FeatureLoss("cosine")(x, y)["loss"], 1 - cosines.mean())
    torch.testing.assert_close(whiten(x, "l2"), x / x.norm(dim=-1, keepdim=True))
    assert torch.equal(whiten(x, None), x)
    assert not torch.autograd.grad(FeatureLoss()(x, y)["loss"], y, allow_unused=True)[0]


def test_half_precision_is_computed_in_float32():
    x, y = torch.randn(2, 3, 4).bfloat16().unbind()
    found = FeatureLoss()(x, y)["loss"]
    assert found.dtype == torch.float32
    assert torch.equal(found, FeatureLoss()(x.float(), y.float())["loss"])
    assert whiten(x, "layer_norm").dtype == torch.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="kind='l1'; it must be one of"):
        FeatureLoss("l1")
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and targets of shape \(2, 1\)"):
        FeatureLoss()(torch.zeros(2, 3), torch.zeros(2, 1))
