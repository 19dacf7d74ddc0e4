"""Stochastic depth is mmcv's, to the bit on a CPU."""

from __future__ import annotations

import pytest
import torch
from mmcv.cnn.bricks import DropPath

from mmdino.models.layers import RowStochasticDepth, StochasticDepth


def dropped(layer, x, mode=True):
    """Result and gradient of a layer, from the same draws each time."""
    x = x.clone().requires_grad_()
    torch.manual_seed(1)
    result = layer.train(mode)(x)
    (grad,) = torch.autograd.grad(result.square().sum(), x)
    return result, grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.6])
def test_results_and_gradients_are_mmcvs(dtype, probability):
    x = torch.randn(64, 3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = dropped(DropPath(probability), x)
    found = dropped(StochasticDepth(probability), x)
    assert found[0].dtype == dtype
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    if probability == 0.6:
        assert 0 < int((found[0] == 0).all(-1).all(-1).sum()) < 64, "some samples are dropped"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_added_to_float32_with_mmcvs_draws_and_an_exact_factor(dtype):
    torch.manual_seed(0)
    x, added = torch.randn(64, 3, 2), torch.randn(64, 3, 2).to(dtype).requires_grad_()
    torch.manual_seed(1)
    drawn = DropPath(0.3).train()(torch.ones(64, 1, 1, dtype=dtype))
    torch.manual_seed(1)
    found = StochasticDepth(0.3).train().residual(x, lambda _: added)
    kept = (drawn > 0).double()
    expected = x + added.detach().double() * kept / 0.7
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), added)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, (kept / 0.7).to(dtype).expand_as(added))


def test_nothing_is_dropped_in_evaluation():
    x = torch.randn(64, 2)
    assert torch.equal(dropped(StochasticDepth(0.5), x, mode=False)[0], x)


def test_rows_that_are_kept_count_more_and_the_others_are_not_computed(monkeypatch):
    seen = []

    def branch(rows):
        seen.append(rows)
        return 10 * rows

    torch.manual_seed(0)
    x = torch.randn(6, 3, 2, dtype=torch.float64, requires_grad=True)
    found = RowStochasticDepth(0.4).train().residual(x, branch)
    assert len(seen[0]) == 3, "int(6 * 0.6)"
    kept = (found != x).flatten(1).any(1)
    assert kept.sum() == 3
    expected = x + torch.where(kept[:, None, None], 10 * x * 6 / 3, 0)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    torch.testing.assert_close(gradient[kept], torch.full((3, 3, 2), 21.0, dtype=x.dtype))
    torch.testing.assert_close(gradient[~kept], torch.ones(3, 3, 2, dtype=x.dtype))


@pytest.mark.parametrize(("batch", "rate", "kept"), [(6, 0.4, 3), (1, 0.9, 1), (10, 0.3, 7)])
def test_the_number_of_kept_rows(batch, rate, kept):
    module = RowStochasticDepth(rate).train()
    x = torch.ones(batch, 1)
    drawn = {tuple(module.residual(x, torch.ones_like)[:, 0].gt(1).tolist()) for _ in range(40)}
    assert {sum(draw) for draw in drawn} == {kept}
    assert kept == batch or len(drawn) > 1


def test_rows_are_all_kept_in_evaluation_and_at_a_rate_of_0():
    x = torch.randn(4, 2)
    for module in (RowStochasticDepth(0.5).eval(), RowStochasticDepth(0.0).train()):
        assert torch.equal(module.residual(x, torch.sin), x + x.sin())


def test_rows_keep_the_precision_of_their_input():
    x = torch.randn(4, 2)
    assert RowStochasticDepth(0.5).train().residual(x, torch.Tensor.bfloat16).dtype == x.dtype
