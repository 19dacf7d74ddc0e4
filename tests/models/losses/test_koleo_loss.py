"""The loss of class tokens against the released code's."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models.losses import koleo_loss


def build(**options):
    return MODELS.build({"type": "mmdino.KoLeoLoss", **options})


@pytest.mark.parametrize("case", ["a", "b", "two"])
def test_loss_and_gradient_equal_the_reference(golden, case):
    arrays = golden("dinov2_koleo", f"{case}/")
    features = arrays["features"].requires_grad_()
    found = build()(features.unsqueeze(0))["loss"]
    found.backward()
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(features.grad, arrays["grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("over_ranks", [False, True])
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("case", ["a", "b"])
def test_loss_of_several_neighbours_equals_the_reference(golden, case, top_k, over_ranks):
    arrays = golden("dinov2_koleo", f"{case}/")
    features = arrays["features"].requires_grad_()
    found = build(top_k=top_k, over_ranks=over_ranks)(features.unsqueeze(0))["loss"]
    found.backward()
    torch.testing.assert_close(found, arrays[f"v3_topk{top_k}_loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(features.grad, arrays[f"v3_topk{top_k}_grad"], rtol=0, atol=1e-9)


def test_equal_rows_give_the_large_finite_value_of_the_reference(golden):
    arrays = golden("dinov2_koleo", "duplicate/")
    found = build()(arrays["features"].unsqueeze(0))["loss"]
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_rows_in_any_precision_give_no_inf(dtype):
    width = 16
    features = torch.ones(2, 4, width, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = build()(features)
    found["loss"].backward()
    expected = -math.log(1e-8 * (width**0.5 + 1))
    assert found["loss"].item() == pytest.approx(2 * expected, rel=1e-3)
    assert torch.isfinite(features.grad).all()
    assert found["nearest_distance"] < 1e-6


def test_the_loss_is_the_sum_over_views_of_each_by_itself():
    views = torch.randn(3, 5, 8, dtype=torch.float64)
    expected = sum(build()(view.unsqueeze(0))["loss"] for view in views)
    torch.testing.assert_close(build()(views)["loss"], expected)


def test_groups_are_spread_by_themselves():
    features = torch.randn(1, 6, 8, dtype=torch.float64)
    expected = (build()(features[:, :3])["loss"] + build()(features[:, 3:])["loss"]) / 2
    found = build(over_ranks=True, group_size=3)(features)["loss"]
    torch.testing.assert_close(found, expected)
    assert not torch.isclose(found, build()(features)["loss"])


@pytest.mark.parametrize(("top_k", "num_images"), [(1, 1), (2, 2)])
def test_too_few_images_give_zero_and_say_so_once(monkeypatch, top_k, num_images):
    logged = []
    monkeypatch.setattr(koleo_loss, "print_log", lambda text, **options: logged.append(text))
    loss = build(top_k=top_k)
    features = torch.randn(2, num_images, 8, requires_grad=True)
    values = [loss(features) for _ in range(3)]
    values[0]["loss"].backward()
    assert all(value == 0 for found in values for value in found.values())
    assert torch.equal(features.grad, torch.zeros_like(features))
    (text,) = logged
    assert f"train_dataloader.batch_size to at least {top_k + 1}" in text


def test_a_group_that_does_not_divide_the_images_is_refused():
    with pytest.raises(ValueError, match="group_size=4, which does not divide the 6 images"):
        build(over_ranks=True, group_size=4)(torch.randn(2, 6, 8))


def test_groups_are_of_all_ranks():
    with pytest.raises(ValueError, match="group_size=4 without over_ranks=True"):
        build(group_size=4)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(global views, batch, width\), but got shape \(4, 8\)"):
        build()(torch.randn(4, 8))
