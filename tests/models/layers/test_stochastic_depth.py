"""Stochastic depth is mmcv's, to the bit on a CPU."""

from __future__ import annotations

import pytest
import torch
from mmcv.cnn.bricks import DropPath

from mmdino.models.layers import StochasticDepth


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


def test_nothing_is_dropped_in_evaluation():
    x = torch.randn(64, 2)
    assert torch.equal(dropped(StochasticDepth(0.5), x, mode=False)[0], x)
