"""Feature maps are normalised per channel."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS


def test_channels_of_every_map_are_centred_and_scaled():
    torch.manual_seed(0)
    neck = MODELS.build({"type": "mmdino.BatchNormNeck", "in_channels": [3, 5]})
    maps = [7 + 40 * torch.randn(4, width, 6, 6) for width in (3, 5)]
    for x, normed in zip(maps, neck(maps), strict=True):
        assert normed.shape == x.shape
        torch.testing.assert_close(
            normed.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(normed.var((0, 2, 3)), torch.ones(x.shape[1]), atol=0.01, rtol=0)


def test_it_has_no_parameters():
    neck = MODELS.build({"type": "mmdino.BatchNormNeck", "in_channels": [3]})
    assert not list(neck.parameters())


def test_another_number_of_maps_is_refused():
    neck = MODELS.build({"type": "mmdino.BatchNormNeck", "in_channels": [3]})
    with pytest.raises(ValueError, match="1 widths in in_channels, but got 2 feature maps"):
        neck([torch.zeros(1, 3, 2, 2)] * 2)
