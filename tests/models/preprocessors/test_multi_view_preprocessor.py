"""Normalisation of uint8 views."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models.preprocessors.multi_view_preprocessor import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    normalise,
    normalise_in_one_pass,
)


def build(**options):
    return MODELS.build({"type": "mmdino.MultiViewPreprocessor", **options})


def images(batch_size=2, channels=3, side=4):
    torch.manual_seed(0)
    return torch.randint(256, (batch_size, channels, side, side), dtype=torch.uint8)


def test_views_become_rgb_with_imagenets_mean_and_deviation():
    views = [images(), images(side=2)]
    batch = build()({"inputs": views, "data_samples": ["a", "b"]}, training=True)
    assert batch["data_samples"] == ["a", "b"]
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    for view, found in zip(views, batch["inputs"], strict=True):
        torch.testing.assert_close(found, (view.flip(1).float() - mean) / std)


@pytest.mark.parametrize("training", [True, False])
def test_images_may_be_stacked_or_a_list(training):
    stacked, alone = images(), list(images())
    wrap = (lambda inputs: [inputs]) if training else (lambda inputs: inputs)
    batches = [
        build()({"inputs": wrap(inputs)}, training=training)["inputs"]
        for inputs in (stacked, alone)
    ]
    torch.testing.assert_close(*batches)
    assert batches[0][0].dtype == torch.float32


def test_channels_keep_their_order_where_they_are_no_colours():
    eight = build(mean=[127.5] * 8, std=[127.5] * 8)
    view = images(channels=8)
    found = eight({"inputs": [view]}, training=True)["inputs"][0]
    torch.testing.assert_close(found, view.float() / 127.5 - 1)
    rgb = build(mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=False)
    assert torch.equal(rgb({"inputs": images()})["inputs"], images().float())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_input_is_not_modified(dtype):
    view = images(channels=1).to(dtype)
    before = view.clone()
    build(mean=[100.0], std=[2.0])({"inputs": [view]}, training=True)
    assert torch.equal(view, before)


def test_one_pass_differs_by_rounding():
    """The default on accelerators, here on the CPU for all pixel values."""
    pixels = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256).unsqueeze(-1).contiguous()
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    found = normalise_in_one_pass(pixels, mean, std)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, normalise(pixels, mean, std), rtol=0, atol=1e-6)
    exact = normalise(pixels, mean.double(), std.double())
    torch.testing.assert_close(
        normalise_in_one_pass(pixels, mean.double(), std.double()), exact, rtol=0, atol=1e-14
    )
    numbers = pixels.float() * 257
    assert torch.equal(normalise_in_one_pass(numbers, mean, std), normalise(numbers, mean, std))


def test_on_a_cpu_it_is_exact():
    expected = normalise(images(), *(torch.full((3, 1, 1), value) for value in (3.0, 7.0)))
    found = build(mean=[3.0] * 3, std=[7.0] * 3, bgr_to_rgb=False)
    assert torch.equal(found({"inputs": images()})["inputs"], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_16_bits_have_the_scale_of_8(channels):
    view = images(channels=channels)
    options = {"mean": [100.0] * channels, "std": [50.0] * channels}
    deep = (view.int() * 257).to(torch.uint16)
    found, expected = (build(**options)({"inputs": x})["inputs"] for x in (deep, view))
    torch.testing.assert_close(found, expected)


def test_precision_follows_the_model():
    assert build().double()({"inputs": images()})["inputs"].dtype == torch.float64


@pytest.mark.parametrize("collated", [False, True])
def test_undistorted_crops_are_normalised_as_views(collated):
    view = images()
    clean = [view if collated else list(view)]
    found = build()({"inputs": [view], "clean_views": clean}, training=True)
    (found,), (expected,) = found["clean_views"], found["inputs"]
    assert torch.equal(found, expected)


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match=r"3 channel\(s\), but got images .*\(2, 8, 4, 4\)"):
        build()({"inputs": [images(channels=8)]}, training=True)


def test_training_without_views_is_refused():
    with pytest.raises(TypeError, match="MultiCropTransform"):
        build()({"inputs": images()}, training=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.0], "std": [1.0, 1.0]}, "one of each per channel"),
        ({"mean": [], "std": []}, "one of each per channel"),
        ({"mean": [0.0] * 3, "std": [1.0, 0.0, 1.0]}, r"std\[1\]=0.0; .* above 0"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
