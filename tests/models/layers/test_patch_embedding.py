"""Patches pass a matrix product in the place of the convolution, with the same results."""

from __future__ import annotations

import pytest
import torch
from mmcv.cnn.bricks.transformer import PatchEmbed
from torch import nn

from mmdino.models.layers import PatchEmbedding


def gradients(layer, images):
    """Tokens, grid, and the gradients of the parameters and the images."""
    images = images.clone().requires_grad_()
    tokens, grid = layer(images)
    found = torch.autograd.grad(tokens.sin().sum(), [images, *layer.parameters()])
    return tokens, tuple(grid), *found


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (8, 12)),
        ({"bias": False}, (4, 4)),
        ({"norm_cfg": {"type": "LN"}}, (12, 4)),
        ({"kernel_size": (2, 4), "stride": (2, 4)}, (6, 8)),
        ({"stride": 2}, (8, 8)),
        ({"padding": 2}, (8, 8)),
        ({}, (9, 10)),
    ],
    ids=["plain", "no bias", "norm", "oblong", "overlapping", "padded", "no multiple of the patch"],
)
def test_tokens_and_gradients_are_those_of_the_convolution(options, size):
    torch.manual_seed(0)
    options = {"in_channels": 5, "embed_dims": 6, "kernel_size": 4, "stride": 4, **options}
    expected_layer = PatchEmbed(**options).double()
    layer = PatchEmbedding(**options).double()
    layer.load_state_dict(expected_layer.state_dict())
    images = torch.randn(2, 5, *size, dtype=torch.float64)
    found, expected = gradients(layer, images), gradients(expected_layer, images)
    assert found[1] == expected[1]
    for of_ours, of_theirs in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(of_ours, of_theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-12)


def test_whatever_others_put_in_the_place_of_the_convolution_is_called():
    layer = PatchEmbedding(in_channels=3, embed_dims=2, kernel_size=4, stride=4)
    layer.projection = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4), nn.Sigmoid())
    tokens, _ = layer(torch.randn(1, 3, 8, 8))
    assert tokens.min() > 0
