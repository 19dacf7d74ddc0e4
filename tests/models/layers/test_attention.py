"""The fastest attention is torch's, on every path it takes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from mmdino.models.layers import attention
from mmdino.models.layers.attention import FEW_SCORES, fastest_attention

SHORT = math.isqrt(FEW_SCORES)


def attended(function, tokens, dtype=torch.float64, autocast=None):
    """Result and gradient with respect to query, key and value."""
    generator = torch.Generator().manual_seed(tokens)
    inputs = torch.randn(3, 2, 2, tokens, 8, generator=generator, dtype=torch.float64)
    inputs = inputs.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        result = function(*inputs)
    (grad,) = torch.autograd.grad(result.square().sum(), inputs)
    return result, grad


@pytest.mark.parametrize("tokens", [5, SHORT, SHORT + 1])
def test_result_and_gradient_are_torchs(tokens):
    expected = attended(scaled_dot_product_attention, tokens)
    for found, value in zip(attended(fastest_attention, tokens), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tokens", [5, 100])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("native", [False, True])
def test_in_half_precision_it_is_as_near_to_the_exact_result_as_torchs(
    tokens, dtype, native, monkeypatch
):
    monkeypatch.setattr(attention, "HAS_BFLOAT16_PRODUCTS", native)
    # Several groups of images.
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", 1)
    exact = attended(scaled_dot_product_attention, tokens)
    ours, torchs = (
        attended(function, tokens, dtype, autocast=dtype)
        for function in (fastest_attention, scaled_dot_product_attention)
    )
    for found, other, value in zip(ours, torchs, exact, strict=True):
        assert found.dtype == other.dtype == dtype
        error, other_error = ((x.double() - value).norm() / value.norm() for x in (found, other))
        assert error < max(1.2 * other_error, torch.finfo(dtype).eps)


@pytest.mark.parametrize("tokens", [5, SHORT + 1])
def test_a_bias_is_added_to_the_scores(tokens):
    bias = torch.randn(2, tokens, tokens, dtype=torch.float64)
    expected = attended(
        lambda *inputs: scaled_dot_product_attention(*inputs, attn_mask=bias), tokens
    )
    found = attended(lambda *inputs: fastest_attention(*inputs, bias), tokens)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=1e-12)
