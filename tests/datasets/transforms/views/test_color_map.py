"""Colour changes composed equal the changes applied one after the other."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from mmdino.datasets.transforms.views import ops as view_ops
from mmdino.datasets.transforms.views.color_map import (
    FACTOR_STEPS,
    color_map,
    level_map,
    map_colors,
    split_into_maps,
)

CHANGES = [("brightness", 0.7), ("contrast", 1.3), ("saturation", 0.8), ("hue", 0.09)]
FADE = ("saturation", 0.8)
ORDERS = list(permutations(CHANGES))
ORDERS_WITHOUT_HUE = list(permutations(CHANGES[:3]))
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
        else:
            colors = amount * colors + (1 - amount) * levels[:, None]
    return np.repeat((colors @ GRAY)[:, None], 3, axis=1) if gray else colors


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("changes", ORDERS_WITHOUT_HUE)
def test_map_is_the_product_of_the_changes_in_any_order(changes, gray):
    colors = np.random.default_rng(0).uniform(0, 255, (50, 3))
    found = color_map(changes, colors.mean(axis=0) @ GRAY, gray)
    expected = step_by_step(changes, colors, gray)
    # Each factor is rounded to a whole step, and one of them takes what the others are off.
    atol = 255 * 2 / FACTOR_STEPS
    np.testing.assert_allclose(colors @ found[:, :3].T + found[:, 3], expected, atol=atol)


@pytest.mark.parametrize("jitter", ORDERS)
def test_views_are_those_of_the_sequential_changes(jitter):
    image = draw_mild()
    expected = view_ops.jitter_color(image, jitter)
    # A level of difference before the hue is shifted can be one in the 256 hues.
    assert difference(map_colors(image, jitter, gray=False), expected).max() <= 4
    assert difference(map_colors(image, jitter, gray=False), expected).mean() < 1
    found = map_colors(image, jitter, gray=True)
    assert difference(found, view_ops.to_gray(expected)[..., :1]).max() <= 3


@pytest.mark.parametrize("jitter", ORDERS[::3])
def test_greys_stay_grey(jitter):
    """Rounding must not tint a picture without colours, or one of each 256 levels would show it."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for factor in (0.83, 1.0, 1.17):
        changes = [(name, amount if name == "hue" else factor * amount) for name, amount in jitter]
        found = map_colors(np.dstack([levels] * 3), changes, gray=False)
        assert (found == found[..., :1]).all()


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
    expected = view_ops.jitter_color(levels, changes)
    assert difference(map_colors(levels, changes, gray=False), expected).max() <= 2
    if channels == 3:
        found = map_colors(levels, changes, gray=True)
        assert difference(found, view_ops.to_gray(expected)[..., :1]).max() <= 2


def test_changes_are_made_together_unless_levels_may_leave_their_range():
    less, more = [("brightness", 0.7), ("contrast", 0.9)], [("brightness", 1.2), ("contrast", 1.1)]
    assert list(split_into_maps([])) == [[]]
    assert list(split_into_maps([*less, FADE])) == [[*less, FADE]]
    assert list(split_into_maps([FADE, *more])) == [[FADE, more[0]], [more[1]]]
    assert list(split_into_maps([*more, FADE])) == [[more[0]], [more[1]], [FADE]]
    vivid, gaudy = ("saturation", 1.2), ("saturation", 1.3)
    assert list(split_into_maps([vivid, *less])) == [[vivid, *less]]
    assert list(split_into_maps([gaudy, *less])) == [[gaudy], less]


def test_the_hue_is_shifted_by_itself():
    less, hue = [("brightness", 0.7), ("contrast", 0.9)], ("hue", 0.1)
    assert list(split_into_maps([*less, hue, FADE])) == [less, [hue], [FADE]]
    assert list(split_into_maps([hue, *less])) == [[hue], less]
    assert list(split_into_maps([*less, hue])) == [less, [hue], []]
    more = [("brightness", 1.2), ("contrast", 1.1)]
    assert list(split_into_maps([*more, hue])) == [[more[0]], [more[1]], [hue], []]


@pytest.mark.parametrize("gray", [False, True])
def test_vivid_colours_keep_their_lightness(gray):
    """A third of the circle turns red into green, whose grey level is another."""
    red, green = np.array([[[0, 0, 255]]], np.uint8), np.array([[[0, 255, 0]]], np.uint8)
    expected = view_ops.to_gray(green)[..., :1] if gray else green
    assert difference(map_colors(red, [("hue", 1 / 3)], gray), expected).max() <= 2


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
