"""The feature of a linear evaluation: class tokens of blocks, and the mean patch token."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models import Features

BLOCKS = tuple(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(i)) for i in range(4))


def test_class_tokens_of_all_blocks_are_joined():
    (feature,) = MODELS.build({"type": "mmdino.TokenFeature"})(BLOCKS)
    assert feature.shape == (2, 4 * 3)
    assert torch.equal(feature[:, 3:6], BLOCKS[1][:, 0])
    assert torch.equal(feature[:, 9:], BLOCKS[3][:, 0])


def test_mean_patch_token_of_the_last_block_follows():
    (feature,) = MODELS.build({"type": "mmdino.TokenFeature", "mean_patch": True})(BLOCKS[-1:])
    assert feature.shape == (2, 2 * 3)
    assert torch.equal(feature[:, :3], BLOCKS[-1][:, 0])
    torch.testing.assert_close(feature[:, 3:], BLOCKS[-1][:, 1:5].sum(1) / 4)


def test_registers_are_no_patches():
    features = [Features(x[:, 0], x[:, 1:3], x[:, 3:], (1, 2)) for x in BLOCKS]
    (feature,) = MODELS.build({"type": "mmdino.TokenFeature", "mean_patch": True})(features)
    assert torch.equal(feature[:, 3:6], BLOCKS[1][:, 0])
    torch.testing.assert_close(feature[:, 12:], BLOCKS[-1][:, 3:].sum(1) / 2)


def test_mean_patch_alone_is_normalised_after_the_mean():
    neck = MODELS.build(
        {
            "type": "mmdino.TokenFeature",
            "mean_patch": True,
            "class_token": False,
            "norm_cfg": {"type": "LN", "eps": 1e-6},
            "in_channels": 3,
        }
    )
    mean = BLOCKS[-1][:, 1:].mean(1)
    centred = mean - mean.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
    (feature,) = neck(BLOCKS)
    torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_token": False}, "leaves no feature"),
        ({"norm_cfg": {"type": "LN"}}, "without in_channels"),
        ({"norm_cfg": {"type": "LN"}, "in_channels": 0}, "in_channels"),
    ],
)
def test_features_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build({"type": "mmdino.TokenFeature", **options})


def test_maps_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 4\).*out_type='features'"):
        MODELS.build({"type": "mmdino.TokenFeature"})((torch.zeros(2, 3, 4, 4),))
