"""The end of a residual branch gives what its modules give, and keeps less."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.models.utils import LayerScale
from torch import nn
from torch.nn import functional

from mmdino.models.layers.branch_end import branch_end


def modules(gelu, scaled, dropout=0.0):
    torch.manual_seed(0)
    linear = nn.Linear(6, 4).double()
    scale = LayerScale(4).double() if scaled else nn.Identity()
    if scaled:
        nn.init.normal_(scale.weight)
    inputs = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    return linear, nn.Dropout(dropout), scale, inputs


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("gelu", [False, True])
def test_values_and_gradients_are_those_of_the_modules(gelu, scaled):
    linear, dropout, scale, x = modules(gelu, scaled)
    parameters = [x, *linear.parameters(), *scale.parameters()]
    output = branch_end(x, linear, dropout, scale, gelu)
    expected = scale(dropout(linear(functional.gelu(x) if gelu else x)))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(output)
    found = torch.autograd.grad(output, parameters, weights)
    reference = torch.autograd.grad(expected, parameters, weights)
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-12)


def test_a_layer_in_the_place_of_the_linear_one_is_called():
    linear, dropout, scale, x = modules(True, True)
    adapter = nn.Sequential(linear, nn.Tanh())
    expected = scale(adapter(functional.gelu(x)))
    assert torch.equal(branch_end(x, adapter, dropout, scale, gelu=True), expected)


def test_dropout_drops_as_the_module_does():
    linear, dropout, scale, x = modules(True, True, dropout=0.5)
    torch.manual_seed(1)
    output = branch_end(x, linear, dropout, scale, gelu=True)
    torch.manual_seed(1)
    assert torch.equal(output, scale(dropout(linear(functional.gelu(x)))))


def test_autocast_computes_products_in_its_precision_and_scales_in_float32():
    linear, dropout, scale, x = (part.float() for part in modules(True, True))
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert branch_end(x, linear, dropout, nn.Identity()).dtype == torch.bfloat16
        output = branch_end(x, linear, dropout, scale, gelu=True)
        expected = scale(dropout(linear(functional.gelu(x))))
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    parameters = [x, *linear.parameters(), *scale.parameters()]
    found = torch.autograd.grad(output.sum(), parameters)
    reference = torch.autograd.grad(expected.sum(), parameters)
    for one, other in zip(found, reference, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_gelu_is_not_kept_for_the_backward_pass():
    linear, dropout, scale, x = modules(True, True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        branch_end(x, linear, dropout, scale, gelu=True)
    tokens = [tensor for tensor in kept if tensor.dim() == 3]
    assert [tensor.data_ptr() for tensor in tokens] == [x.data_ptr()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_stays_in_it(dtype):
    linear, dropout, scale, x = (part.to(dtype) for part in modules(True, True))
    expected = scale(dropout(linear(functional.gelu(x))))
    assert torch.equal(branch_end(x, linear, dropout, scale, gelu=True), expected)


def test_in_float16_gradients_do_not_overflow_before_the_scale():
    linear, dropout, scale, x = (part.float() for part in modules(False, True))
    nn.init.constant_(scale.weight, 1e-5)
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", dtype=torch.float16):
        output = branch_end(x, linear, dropout, scale)
    (output * 1e6).sum().backward()
    assert linear.weight.grad.isfinite().all()
