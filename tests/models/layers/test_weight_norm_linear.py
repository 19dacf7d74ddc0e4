"""The prototypes compute what torch's weight normalisation computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from mmdino.models.layers import WeightNormLinear


@pytest.mark.parametrize("train_gain", [True, False])
def test_output_and_gradients_equal_torchs(train_gain):
    torch.manual_seed(0)
    ours = WeightNormLinear(6, 10, train_gain).double()
    theirs = weight_norm(nn.Linear(6, 10, bias=False).double())
    gain, direction = theirs.parametrizations.weight.parameters()
    with torch.no_grad():
        ours.weight_g.uniform_(0.5, 2)
        gain.copy_(ours.weight_g)
        direction.copy_(ours.weight_v)
    x = torch.randn(4, 6, dtype=torch.float64)
    for layer in (ours, theirs):
        layer(x).square().sum().backward()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.weight_v.grad, direction.grad)
    if train_gain:
        torch.testing.assert_close(ours.weight_g.grad, gain.grad)
    else:
        assert ours.weight_g.grad is None


def test_rows_have_the_length_of_the_gain():
    layer = WeightNormLinear(6, 10, train_gain=False)
    with torch.no_grad():
        layer.weight_v.mul_(100)
    lengths = layer(torch.eye(6)).T.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(10))


def test_start_is_a_linear_layers():
    torch.manual_seed(0)
    layer = WeightNormLinear(64, 512, train_gain=False)
    assert torch.equal(layer.weight_g, torch.ones(512, 1))
    bound = 64**-0.5
    assert layer.weight_v.abs().max() <= bound
    assert layer.weight_v.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_rows_are_normalised_in_single_precision_under_autocast():
    """Rows of length 1e-3 have squares that float16 rounds to 0."""
    torch.manual_seed(0)
    layer = WeightNormLinear(8, 4, train_gain=False)
    with torch.no_grad():
        layer.weight_v.mul_(1e-3 / layer.weight_v.norm(dim=1, keepdim=True))
    x = torch.randn(3, 8)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.float16):
        found = layer(x)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=2e-3)
