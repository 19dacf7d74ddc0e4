"""Attention maps equal the reference's at any shape, and masks hold the fraction they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmdino.evaluation.attention import (
    attention_maps,
    attention_mask,
    resize_maps,
)
from mmdino.evaluation.image_input import input_shape
from mmdino.weights.layouts import authors_vit

ARCH = {"embed_dims": 12, "num_layers": 2, "num_heads": 2, "feedforward_channels": 48}


def build(**options):
    torch.manual_seed(0)
    options = {"arch": ARCH, "img_size": 32, "patch_size": 8, **options}
    vit = MODELS.build({"type": "mmdino.VisionTransformer", **options})
    vit.eval()
    return vit


@pytest.mark.parametrize("shape", ["same", "local", "wide"])
@pytest.mark.parametrize("case", ["p8", "p16"])
def test_class_token_attention_is_a_row_of_the_references(golden, case, shape):
    sizes = golden("vit", f"{case}/")
    patch = int(sizes["patch_size"])
    vit = build(img_size=int(sizes["img_size"]), patch_size=patch).double()
    vit.load_state_dict(authors_vit.to_mmdino(golden("vit", f"{case}/param/")))
    expected = golden("vit", f"{case}/{shape}/")
    images = expected["input"]
    with torch.no_grad():
        maps = vit.class_token_attention(images)
    assert maps.shape == (2, 2, images.shape[2] // patch, images.shape[3] // patch)
    torch.testing.assert_close(
        maps.flatten(2), expected["attention"][:, :, 0, 1:], rtol=0, atol=1e-9
    )


def test_an_image_that_fits_enters_as_it_is():
    vit = build()
    image = np.random.default_rng(0).integers(256, size=(32, 48, 3), dtype=np.uint8)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    pixels = torch.tensor((image - mean) / std).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = vit.class_token_attention(pixels)[0]
    torch.testing.assert_close(attention_maps(vit, image), expected)


@pytest.mark.parametrize(
    ("height", "width", "size", "shape"),
    [
        (37, 50, None, (5, 6)),
        (8, 100, None, (1, 12)),
        (37, 50, 16, (2, 3)),
        (500, 333, 64, (12, 8)),
        (5, 5, 8, (1, 1)),
    ],
)
def test_any_shape_keeps_its_aspect_to_a_patch(height, width, size, shape):
    maps = attention_maps(build(), np.zeros((height, width, 3), np.uint8), size)
    assert maps.shape == (2, *shape)
    assert (maps.sum((1, 2)) <= 1).all()


def test_ten_thousand_tokens_need_no_square_of_them():
    shape = input_shape(800, 800, 8)
    assert shape == (800, 800)
    maps = attention_maps(build(), np.zeros((*shape, 3), np.uint8))
    assert maps.shape == (2, 100, 100)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"type": "ResNet", "depth": 18}, "A ResNet has no attention.*checkpoint of a ViT"),
        (
            {
                "type": "mmdino.VisionTransformer",
                "arch": ARCH,
                "img_size": 32,
                "patch_size": 8,
                "in_channels": 1,
            },
            "images of 1 channel",
        ),
    ],
)
def test_a_network_that_cannot_be_shown_is_refused(backbone, message):
    with pytest.raises(ValueError, match=message):
        attention_maps(MODELS.build(backbone), np.zeros((32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("fraction", "kept"),
    [
        (0.3, [[1, 0], [0, 0]]),
        (0.5, [[1, 0], [0, 0]]),
        (0.51, [[1, 0], [0, 1]]),
        (0.6, [[1, 0], [0, 1]]),
        (0.8, [[1, 0], [0, 1]]),
        (0.95, [[1, 1], [0, 1]]),
        (1, [[1, 1], [1, 1]]),
    ],
)
def test_mask_is_the_smallest_that_holds_the_fraction(fraction, kept):
    maps = torch.tensor([[[0.5, 0.15], [0.05, 0.3]]])
    # The attention of the class token to itself is missing, so a map does not sum to 1.
    assert attention_mask(0.7 * maps, fraction).int().tolist() == [kept]


def test_uniform_attention_keeps_its_fraction_of_the_patches():
    assert attention_mask(torch.full((3, 2, 5), 0.1), 0.6).sum((1, 2)).tolist() == [6, 6, 6]


def test_every_head_has_its_own_mask():
    maps = torch.rand(2, 3, 7, 5, generator=torch.Generator().manual_seed(0)) ** 4
    masks = attention_mask(maps)
    for values, mask in zip(maps.flatten(0, 1), masks.flatten(0, 1), strict=True):
        held = values[mask].sum() / values.sum()
        assert held >= 0.6
        assert held - values[mask].min() / values.sum() < 0.6, "one patch less would not hold it"
        assert values[mask].min() >= values[~mask].max()


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        attention_mask(torch.ones(2, 2), fraction)


def test_patches_are_enlarged_as_they_are_or_smoothly():
    maps = torch.tensor([[[0.0, 1.0]]])
    assert resize_maps(maps, (2, 4)).tolist() == [[[0, 0, 1, 1]] * 2]
    assert resize_maps(maps, (1, 5)).tolist() == [[[0, 0, 1, 1, 1]]]
    assert resize_maps(maps, (1, 4), "bilinear").tolist() == [[[0, 0.25, 0.75, 1]]]
    assert resize_maps(maps > 0.5, (1, 4)).tolist() == [[[False, False, True, True]]]
    with pytest.raises(ValueError, match="mode='cubic'"):
        resize_maps(maps, (2, 4), "cubic")
