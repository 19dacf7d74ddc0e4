"""Norm and linear layer in one give what the two give, and keep less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmdino.models.layers.normed_linear import normed_linear


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def layers(norm=nn.LayerNorm, bias=True):
    torch.manual_seed(0)
    norm, linear = norm(6), nn.Linear(6, 4, bias=bias)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm.double(), linear.double(), torch.randn(2, 3, 6).double().requires_grad_()


@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_layers(bias):
    norm, linear, x = layers(bias=bias)
    parameters = [x, *norm.parameters(), *linear.parameters()]
    output, expected = normed_linear(x, norm, linear), linear(norm(x))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(output)
    found = torch.autograd.grad(output, parameters, weights)
    reference = torch.autograd.grad(expected, parameters, weights)
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-12)


def test_another_norm_is_called():
    norm, linear, x = layers(norm=lambda width: nn.RMSNorm(width))
    assert torch.equal(normed_linear(x, norm, linear), linear(norm(x)))


def test_a_layer_in_the_place_of_a_linear_one_is_called():
    """Adapters wrap a linear layer, or derive from it."""
    norm, linear, x = layers()
    for adapter in (nn.Sequential(linear, nn.Tanh()), Doubled(6, 4).double()):
        assert torch.equal(normed_linear(x, norm, adapter), adapter(norm(x)))


def test_autocast_normalises_in_float32_and_multiplies_in_its_precision():
    norm, linear, x = (part.float() for part in layers())
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = normed_linear(x, norm, linear)
        expected = linear(norm(x))
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)
    parameters = [x, *norm.parameters(), *linear.parameters()]
    found = torch.autograd.grad(output.sum(), parameters)
    reference = torch.autograd.grad(expected.sum(), parameters)
    for one, other in zip(found, reference, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.05)


def test_normed_tokens_are_not_kept_for_the_backward_pass():
    norm, linear, x = layers()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        normed_linear(x, norm, linear)
    assert [tensor.data_ptr() for tensor in kept if tensor.shape == x.shape] == [x.data_ptr()]
