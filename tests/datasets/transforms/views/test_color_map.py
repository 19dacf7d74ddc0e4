"""An affine colour map equals the changes applied one after the other."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mmdino.datasets.transforms.views import ops as view_ops
from mmdino.datasets.transforms.views.color_map import (
    color_map,
    hue_rotation,
    level_map,
    map_colors,
    split_at_clipping,
)

CHANGES = [("brightness", 0.7), ("contrast", 1.3), ("saturation", 0.8), ("hue", 0.09)]
FADE = ("saturation", 0.8)
ORDERS = list(permutations(CHANGES))
ORDERS_OF_THREE = list(permutations([("brightness", 1.4), ("contrast", 1.3), FADE]))
GRAY = view_ops.BGR_TO_GRAY


def draw_mild(channels: int = 3) -> np.ndarray:
    """Draws an image that no change in these tests clips."""
    rng = np.random.default_rng(0)
    return rng.integers(90, 150, (40, 30, channels), dtype=np.uint8)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return np.abs(a.astype(int) - b.astype(int))


def step_by_step(jitter, colors: np.ndarray, gray: bool) -> np.ndarray:
    """Changes float colours (N, 3) by the definition of each change."""
    for name, amount in jitter:
        levels = colors @ GRAY
        if name == "brightness":
            colors = amount * colors
        elif name == "contrast":
            colors = amount * colors + (1 - amount) * levels.mean()
        elif name == "saturation":
            colors = amount * colors + (1 - amount) * levels[:, None]
        else:
            a, b, c = hue_rotation(amount)
            colors = colors @ np.array([[a, b, c], [c, a, b], [b, c, a]]).T
    return np.repeat((colors @ GRAY)[:, None], 3, axis=1) if gray else colors


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("jitter", ORDERS, ids=lambda order: "-".join(n[0] for n, _ in order))
def test_map_is_the_product_of_the_changes_in_any_order(jitter, gray):
    colors = np.random.default_rng(0).uniform(0, 255, (50, 3))
    found = color_map(jitter, colors.mean(axis=0), gray)
    expected = step_by_step(jitter, colors, gray)
    np.testing.assert_allclose(colors @ found[:, :3].T + found[:, 3], expected, atol=1e-9)


@pytest.mark.parametrize("jitter", ORDERS[::5])
def test_views_are_those_of_the_sequential_changes_but_for_the_hue(jitter):
    image = draw_mild()
    no_hue = [change for change in jitter if change[0] != "hue"]
    expected = view_ops.jitter_color(image, no_hue)
    assert difference(map_colors(image, no_hue, gray=False), expected).max() <= 2
    found = map_colors(image, no_hue, gray=True)
    assert difference(found, view_ops.to_gray(expected)[..., :1]).max() <= 2


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("jitter", ORDERS_OF_THREE)
@pytest.mark.parametrize("contrast", [0.6, 1.3])
def test_clipped_levels_stay_clipped(jitter, contrast, channels):
    """Highlights come back grey where a chain clips after brightness and before less contrast."""
    levels = np.random.default_rng(0).integers(0, 256, (40, 30, channels), dtype=np.uint8)
    amounts = dict(jitter) | {"contrast": contrast}
    if channels != 3:
        del amounts["saturation"]
    changes = list(amounts.items())
    found = map_colors(levels, changes, gray=False)
    assert difference(found, view_ops.jitter_color(levels, changes)).max() <= 2


def test_changes_are_made_together_unless_levels_may_leave_their_range():
    less, more = [("brightness", 0.7), ("contrast", 0.9)], [("brightness", 1.2), ("contrast", 1.1)]
    assert list(split_at_clipping([])) == [[]]
    assert list(split_at_clipping([*less, FADE])) == [[*less, FADE]]
    assert list(split_at_clipping([FADE, *more])) == [[FADE, more[0]], [more[1]]]
    assert list(split_at_clipping([*more, FADE])) == [[more[0]], [more[1]], [FADE]]


@pytest.mark.parametrize("shift", [-0.1, -0.04, 0.05, 0.1])
def test_hue_rotation_is_close_to_that_in_hsv_space(shift):
    def chroma(image):
        return image - image.mean(axis=2, keepdims=True)

    image = draw_mild()
    found = map_colors(image, [("hue", shift)], gray=False)
    expected = view_ops.adjust_hue(image, shift)
    way = np.abs(chroma(image) - chroma(expected)).mean()
    assert np.abs(chroma(found) - chroma(expected)).mean() < 0.35 * way
    # the two preserve lightness differently, by less than a tenth of the image's range
    assert difference(found, expected).mean() < 6


def test_third_of_the_hue_circle_turns_red_into_green_and_greys_stay():
    red, green = np.array([[[0, 0, 255]]], np.uint8), np.array([[[0, 255, 0]]], np.uint8)
    assert difference(map_colors(red, [("hue", 1 / 3)], gray=False), green).max() == 0
    assert difference(map_colors(green, [("hue", -1 / 3)], gray=False), red).max() == 0
    gray = np.full((2, 2, 3), 77, np.uint8)
    assert difference(map_colors(gray, [("hue", 0.1)], gray=False), gray).max() == 0


@pytest.mark.parametrize("jitter", ORDERS[::5], ids=lambda order: "-".join(n[0] for n, _ in order))
def test_grey_in_three_channels_stays_grey(jitter):
    rng = np.random.default_rng(0)
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    for _ in range(50):
        changes = [
            (name, rng.uniform(-0.1, 0.1) if name == "hue" else rng.uniform(0.6, 1.4))
            for name, _ in jitter
        ]
        found = map_colors(levels, changes, gray=False)
        assert (found == found[..., :1]).all()
        no_hue = [change for change in changes if change[0] != "hue"]
        expected = view_ops.jitter_color(levels, no_hue)
        assert difference(found, expected).max() <= 2


def test_levels_clip_before_the_conversion_to_grey():
    """Red of 200 made brighter than 255 is red of 255, and its grey that of it."""
    red = np.array([[[0, 0, 200]]], np.uint8)
    found = map_colors(red, [("brightness", 1.4)], gray=True)
    assert abs(int(found.item()) - round(255 * GRAY[2])) <= 1


def test_image_without_changes_is_the_same():
    image = draw_mild()
    np.testing.assert_array_equal(map_colors(image, [], gray=False), image)
    found = map_colors(image, [], gray=True)
    np.testing.assert_array_equal(found, view_ops.to_gray(image)[..., :1])


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("jitter", [CHANGES[:2], CHANGES[1::-1], CHANGES[:1], CHANGES[1:2]])
def test_levels_of_other_channels_are_changed_at_once(channels, jitter):
    image = draw_mild(channels)
    found = map_colors(image, jitter, gray=False)
    assert difference(found, view_ops.jitter_color(image, jitter)).max() <= 1


def test_brightness_before_contrast_moves_the_level_that_contrast_keeps():
    assert level_map(CHANGES[:2], mean=100.0) == pytest.approx((0.91, -21.0))
    assert level_map(CHANGES[1::-1], mean=100.0) == pytest.approx((0.91, -21.0))
    assert level_map([("contrast", 0.0)], mean=100.0) == (0.0, 100.0)


def test_no_map_touches_its_input():
    image = draw_mild()
    before = image.copy()
    map_colors(image, CHANGES, gray=False)
    map_colors(image, CHANGES, gray=True)
    np.testing.assert_array_equal(image, before)
