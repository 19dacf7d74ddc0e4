"""Every image operation against Pillow and torchvision, which the authors use."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision import transforms
from torchvision.transforms import functional as reference

from mmdino.datasets.transforms.views import ops as view_ops


def draw_photo(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Draws an image with large and small structure, and levels from black to white."""
    rng = np.random.default_rng(seed)
    photo = np.zeros((height, width, channels), np.float32)
    for sigma in (1, 4, 16):
        for channel in range(channels):
            noise = rng.standard_normal((height, width)).astype(np.float32)
            photo[..., channel] += sigma * cv2.GaussianBlur(noise, (0, 0), sigma)
    low, high = np.percentile(photo, (2, 98))
    return np.clip(255 * (photo - low) / (high - low), 0, 255).astype(np.uint8)


def to_pillow(bgr: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(bgr[..., ::-1]))


def from_pillow(image: Image.Image) -> np.ndarray:
    return np.asarray(image)[..., ::-1]


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return np.abs(a.astype(int) - b.astype(int))


@pytest.fixture
def photo() -> np.ndarray:
    return draw_photo(120, 150)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((10, 20, 200, 260), (96, 96)),
        ((0, 0, 300, 400), (224, 224)),
        ((33, 7, 224, 224), (224, 224)),
        ((50, 60, 70, 55), (96, 96)),
        ((120, 240, 17, 21), (64, 48)),
        ((299, 399, 1, 1), (16, 16)),
        ((5, 5, 280, 3), (32, 32)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_pillows_antialiased_bicubic(box, size, channels):
    image = draw_photo(300, 400, channels)
    top, left, height, width = box

    view = view_ops.resize_crop(image, box, size)

    crop = Image.fromarray(image.squeeze()).crop((left, top, left + width, top + height))
    expected = np.asarray(crop.resize(size[::-1], Image.Resampling.BICUBIC))
    assert difference(view, expected.reshape(*size, channels)).mean() < 0.5
    assert view.flags.c_contiguous


def board(side: int) -> np.ndarray:
    """A checkerboard of single pixels, uniformly grey at any lower resolution."""
    return np.repeat(255 * (np.indices((side, side)).sum(axis=0) % 2)[..., None], 3, axis=2)


def zone_plate(side: int) -> np.ndarray:
    """Rings whose frequency rises from 0 to half a cycle a pixel, at the middle of the edges."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    rings = 127.5 + 127.5 * np.cos(np.pi * (x**2 + y**2) / side)
    return np.repeat(rings[..., None], 3, axis=2)


@pytest.mark.parametrize("size", [96, 112, 150])
def test_resize_removes_frequencies_above_nyquist(size):
    def contrast(image):
        return np.abs(image - 127.5).mean()

    checks, plate = (draw(400).astype(np.uint8) for draw in (board, zone_plate))
    # only the rings' corners, all finer than the view's pixels
    corner = np.hypot(*(np.mgrid[:size, :size] - (size - 1) / 2)) > 0.62 * size
    whole = (0, 0, 400, 400)
    ours = [view_ops.resize_crop(image, whole, (size, size)) for image in (checks, plate)]
    assert contrast(ours[0]) < 2
    assert contrast(ours[1][corner]) < 2
    # the same measure finds the patterns that a cubic without antialiasing invents
    aliased = [
        cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in (checks, plate)
    ]
    assert contrast(aliased[0]) > 20
    assert contrast(aliased[1][corner]) > 20


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
def test_resize_of_16_bits_is_that_of_8_scaled(channels):
    image = draw_photo(80, 90, channels)
    box, size = (3, 5, 70, 60), (24, 32)
    view = view_ops.resize_crop(image.astype(np.uint16) * 257, box, size)
    assert view.flags.c_contiguous
    # bytes are rounded after each of the two directions, 16 bits once
    assert difference(view, view_ops.resize_crop(image, box, size)).max() <= 2
    assert difference(view, view_ops.resize_crop(image, box, size)).mean() < 0.3


def test_levels_of_16_bits_are_rounded_after_the_resize():
    # 250 and 10 lie half-way between the levels 0 and 1 of 8 bits; rounded alone they are 1 and 0
    image = np.tile(np.array([[[375], [25]]], np.uint16), (40, 20, 1))
    view = view_ops.resize_crop(image, (0, 0, 40, 40), (10, 10))
    np.testing.assert_array_equal(view[2:8, 2:8], 1)
    ends = np.array([[[0]], [[65535]]], np.uint16)
    unchanged = view_ops.resize_crop(ends, (0, 0, 2, 1), (2, 1))
    np.testing.assert_array_equal(unchanged.ravel(), [0, 255])


@pytest.mark.parametrize("channels", [2, 4, 5, 8, 200])
def test_resize_flip_and_blur_treat_each_channel_alike(channels):
    image = draw_photo(40, 50, channels)

    def change(image):
        view = view_ops.resize_crop(image, (3, 5, 30, 40), (24, 20))
        return view_ops.gaussian_blur(view_ops.flip(view), 1.2)

    expected = np.concatenate([change(image[..., [i]]) for i in range(channels)], axis=2)
    assert difference(change(image), expected).max() <= 1


def test_resize_accepts_read_only_and_mirrored_images(photo):
    expected = view_ops.resize_crop(photo, (0, 0, 120, 150), (32, 32))
    mirrored = photo[:, ::-1].copy()[:, ::-1]
    read_only = photo.copy()
    read_only.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (mirrored, read_only):
            view = view_ops.resize_crop(image, (0, 0, 120, 150), (32, 32))
            np.testing.assert_array_equal(view, expected)


def test_view_of_the_whole_image_shares_no_memory_with_it(photo):
    view = view_ops.resize_crop(photo, (0, 0, 120, 150), (120, 150))
    np.testing.assert_array_equal(view, photo)
    assert not np.shares_memory(view, photo)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 2), (5, 400), (400, 5), (3, 4), (37, 41)]
)
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (0.1, 0.2)])
def test_crop_box_lies_inside_any_image(height, width, ratio):
    rng = np.random.default_rng(0)
    for _ in range(200):
        top, left, h, w = view_ops.draw_crop_box(rng, height, width, (0.05, 1.0), ratio)
        assert 0 <= top < top + h <= height
        assert 0 <= left < left + w <= width


@pytest.mark.parametrize(
    ("height", "width", "central"), [(5, 400, (0, 196, 5, 7)), (400, 5, (196, 0, 7, 5))]
)
def test_crop_box_that_never_fits_is_the_largest_central_one(height, width, central):
    scale, ratio = (0.9, 1.0), (3 / 4, 4 / 3)
    rng = np.random.default_rng(0)
    image = torch.empty(3, height, width)
    assert view_ops.draw_crop_box(rng, height, width, scale, ratio) == central
    assert transforms.RandomResizedCrop.get_params(image, scale, ratio) == central


@pytest.mark.parametrize("scale", [(0.05, 0.4), (0.4, 1.0)])
def test_crop_boxes_are_distributed_as_torchvisions(scale):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    image = torch.empty(3, 375, 500)
    ratio = (3 / 4, 4 / 3)
    draws = 2000
    ours = [view_ops.draw_crop_box(rng, 375, 500, scale, ratio) for _ in range(draws)]
    theirs = [transforms.RandomResizedCrop.get_params(image, scale, ratio) for _ in range(draws)]

    def statistics(boxes):
        top, left, h, w = np.array(boxes, float).T
        measures = np.stack([h * w, np.log(w / h), top, left, (h * w) ** 2])
        return measures.mean(axis=1), measures.std(axis=1) / np.sqrt(draws)

    (ours_mean, ours_error), (theirs_mean, theirs_error) = statistics(ours), statistics(theirs)
    np.testing.assert_array_less(
        np.abs(ours_mean - theirs_mean), 4 * np.hypot(ours_error, theirs_error)
    )


def test_flip_mirrors_left_and_right(photo):
    np.testing.assert_array_equal(view_ops.flip(photo), photo[:, ::-1])
    assert view_ops.flip(photo).flags.c_contiguous


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("change", ["brightness", "contrast", "saturation"])
def test_blends_are_within_a_level_of_pillows(photo, change, factor):
    view = getattr(view_ops, f"adjust_{change}")(photo, factor)
    expected = from_pillow(getattr(reference, f"adjust_{change}")(to_pillow(photo), factor))
    assert difference(view, expected).max() <= 1


@pytest.mark.parametrize("shift", [-0.5, -0.1, -0.03, 0.0, 0.1, 0.5])
def test_hue_is_close_to_pillows(photo, shift):
    # both keep hues in 256 steps, a step is up to six levels, and Pillow cuts the shift to a step
    view = view_ops.adjust_hue(photo, shift)
    expected = from_pillow(reference.adjust_hue(to_pillow(photo), shift))
    assert difference(view, expected).mean() < 2
    assert difference(view, expected).max() <= 18


def test_third_of_the_hue_circle_turns_red_into_green():
    red, green = np.array([[[0, 0, 255]]], np.uint8), np.array([[[0, 255, 0]]], np.uint8)
    assert difference(view_ops.adjust_hue(red, 1 / 3), green).max() <= 6
    assert difference(view_ops.adjust_hue(green, -1 / 3), red).max() <= 6


def test_contrast_of_other_channel_counts_blends_with_the_mean_of_all():
    image = np.full((4, 4, 5), 100, np.uint8)
    image[:2] = 200
    np.testing.assert_array_equal(np.unique(view_ops.adjust_contrast(image, 0.0)), [150])
    np.testing.assert_array_equal(np.unique(view_ops.adjust_contrast(image, 0.5)), [125, 175])


def test_gray_is_pillows(photo):
    expected = from_pillow(reference.to_grayscale(to_pillow(photo), num_output_channels=3))
    assert difference(view_ops.to_gray(photo), expected).max() <= 1


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_is_close_to_torchvisions_and_pillows(photo, sigma):
    view = view_ops.gaussian_blur(photo, sigma)
    expected = from_pillow(reference.gaussian_blur(to_pillow(photo), 25, sigma))
    # torchvision mirrors the image at its border, where this blur repeats the border pixels
    inside = slice(8, -8)
    assert difference(view[inside, inside], expected[inside, inside]).max() <= 2
    # Pillow approximates the Gaussian with box filters
    expected = from_pillow(to_pillow(photo).filter(ImageFilter.GaussianBlur(sigma)))
    assert difference(view, expected).mean() < 1


@pytest.mark.parametrize("sigma", [0.1, 0.19, 0.5, 0.99, 1.39, 2.0])
def test_truncated_blur_is_as_close_to_pillows_as_the_full_kernel(photo, sigma):
    full = view_ops.gaussian_blur(photo, sigma)
    truncated = view_ops.truncated_blur(photo, sigma)
    assert difference(truncated, full).max() <= 3
    assert difference(truncated, full).mean() < 0.6
    pillows = from_pillow(to_pillow(photo).filter(ImageFilter.GaussianBlur(sigma)))
    assert difference(truncated, pillows).mean() < 1


@pytest.mark.parametrize("threshold", [0, 100, 128, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_solarize_is_pillows(threshold, channels):
    image = draw_photo(60, 70, channels)
    view = view_ops.solarize(image, threshold)
    expected = np.asarray(reference.solarize(Image.fromarray(image.squeeze()), threshold))
    np.testing.assert_array_equal(view, expected.reshape(image.shape))


def test_no_change_touches_its_input(photo):
    before = photo.copy()
    view_ops.resize_crop(photo, (0, 0, 120, 150), (120, 150))
    view_ops.flip(photo)
    view_ops.adjust_brightness(photo, 1.3)
    view_ops.adjust_contrast(photo, 1.3)
    view_ops.adjust_saturation(photo, 1.3)
    view_ops.adjust_hue(photo, 0.1)
    view_ops.to_gray(photo)
    view_ops.gaussian_blur(photo, 1.0)
    view_ops.truncated_blur(photo, 1.0)
    view_ops.solarize(photo, 128)
    np.testing.assert_array_equal(photo, before)


def test_jitter_draws_amounts_within_their_limits():
    rng = np.random.default_rng(0)
    drawn = [dict(view_ops.draw_jitter(rng, 0.4, 2.0, 0.2, 0.1)) for _ in range(500)]
    # a factor never turns negative, however large the limit
    limits = {
        "brightness": (0.6, 1.4),
        "contrast": (0.0, 3.0),
        "saturation": (0.8, 1.2),
        "hue": (-0.1, 0.1),
    }
    for name, (low, high) in limits.items():
        amounts = np.array([changes[name] for changes in drawn])
        margin = (high - low) / 50
        assert low <= amounts.min() < low + margin
        assert high - margin < amounts.max() <= high
        assert abs(amounts.mean() - (low + high) / 2) < 3 * margin


def test_jitter_leaves_changes_of_no_amount_out():
    rng = np.random.default_rng(0)
    assert view_ops.draw_jitter(rng, 0, 0, 0, 0) == []
    assert [name for name, _ in view_ops.draw_jitter(rng, 0, 0.4, 0, 0)] == ["contrast"]


def test_jitter_takes_its_steps_in_every_order():
    rng = np.random.default_rng(0)
    orders = {
        tuple(name for name, _ in view_ops.draw_jitter(rng, 0.4, 0.4, 0.2, 0.1)) for _ in range(300)
    }
    assert len(orders) == 24


def test_jitter_makes_its_changes_in_the_order_drawn(photo):
    jitter = [("hue", 0.1), ("contrast", 0.7), ("saturation", 1.2), ("brightness", 1.3)]
    expected = view_ops.adjust_contrast(view_ops.adjust_hue(photo, 0.1), 0.7)
    expected = view_ops.adjust_brightness(view_ops.adjust_saturation(expected, 1.2), 1.3)
    np.testing.assert_array_equal(view_ops.jitter_color(photo, jitter), expected)
