"""Changes of a view's colours as affine maps, as few of them as clipping allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from mmdino.datasets.transforms.views.ops import BGR_TO_GRAY, mean_level, scale_and_shift

_GRAY = tuple(BGR_TO_GRAY.tolist())
LEVEL_CHANGES = ("brightness", "contrast")
"""Changes that treat all channels alike and, where they add, drive many levels out of range."""


def map_colors(image: np.ndarray, jitter: Iterable[tuple[str, float]], gray: bool) -> np.ndarray:
    """Jitters an image and takes its colour away.

    Brightness, contrast, saturation and loss of colour are affine maps, so their product is what
    they do one after the other, but for rounding, and for the clipping that follows more brightness
    or contrast: there the image is made before the next change. The hue is turned about the axis of
    greys, which keeps the sum of the channels; a turn in HSV space keeps the largest and the
    smallest.

    Args:
        image: Image of shape (H, W, C).
        jitter: Changes as ``draw_jitter`` draws them. Where C is not 3: brightness and contrast.
        gray: Whether to take the colour away. Needs three channels.

    Returns:
        Image of shape (H, W, C), or (H, W, 1) where the colour was taken away.
    """
    *clipped, last = split_at_clipping(jitter)
    for changes in clipped:
        image = _apply(image, changes, gray=False)
    return _apply(image, last, gray)


def split_at_clipping(jitter: Iterable[tuple[str, float]]) -> Iterator[list[tuple[str, float]]]:
    """Yields changes that can be made as one, the last of them perhaps none.

    Less brightness, contrast or saturation than there was drives nothing out of range. More
    saturation does so to vivid colours only, which are few.

    Args:
        jitter: Changes as (name, amount), in order.
    """
    together: list[tuple[str, float]] = []
    for change in jitter:
        if together and together[-1][0] in LEVEL_CHANGES and together[-1][1] > 1:
            yield together
            together = []
        together.append(change)
    yield together


def _apply(image: np.ndarray, changes: Sequence[tuple[str, float]], gray: bool) -> np.ndarray:
    """Makes changes as one map, rounded and clipped once."""
    if not changes:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., np.newaxis] if gray else image
    # The contrast alone looks at the mean.
    with_mean = any(name == "contrast" for name, _ in changes)
    if image.shape[2] != 3:
        level = mean_level(image) if with_mean else 0.0
        return scale_and_shift(image, *level_map(changes, level))
    mean = cv2.mean(image)[:3] if with_mean else (0.0, 0.0, 0.0)
    mapped = cv2.transform(image, color_map(changes, mean, gray))
    # OpenCV's transform to one channel takes five times as long as one to three
    return cv2.extractChannel(mapped, 0)[..., np.newaxis] if gray else mapped


def color_map(
    jitter: Iterable[tuple[str, float]], mean: Sequence[float], gray: bool = False
) -> np.ndarray:
    """Composes changes of colour.

    Args:
        jitter: Changes as (name, amount), each name at most once, in order.
        mean: Mean of each channel before them, B, G, R, for the contrast.
        gray: Whether loss of colour follows.

    Returns:
        Matrix (3, 4): a colour's image is its first three columns times the colour plus the last.
    """
    # With R the turn of the hue, w the weights of grey and 1 the column of ones, R 1 = 1 and
    # w 1 = 1. So changes up to any point make the matrix gain * (blend * R + (1 - blend) * 1 q)
    # plus a shift that is the same in all channels, where q is w R if the hue was turned before the
    # saturation changed, else w. Numbers of Python take a fifth of the time of arrays this small.
    gain, shift, blend = 1.0, 0.0, 1.0
    turn = (1.0, 0.0, 0.0)
    turned = faded = _GRAY
    for name, amount in jitter:
        if name == "brightness":
            gain, shift = amount * gain, amount * shift
        elif name == "contrast":
            weights = _blend(blend, turned, faded)
            level = gain * _dot(weights, mean) + shift
            gain, shift = amount * gain, amount * shift + (1.0 - amount) * level
        elif name == "saturation":
            blend, faded = amount, turned
        else:
            turn = a, b, c = hue_turn(amount)
            turned = _dot(_GRAY, (a, c, b)), _dot(_GRAY, (b, a, c)), _dot(_GRAY, (c, b, a))
    if gray:
        rows = [_blend(blend, turned, faded)] * 3
    else:
        a, b, c = turn
        rows = [_blend(blend, row, faded) for row in ((a, b, c), (c, a, b), (b, c, a))]
    return np.array([[gain * x, gain * y, gain * z, shift] for x, y, z in rows])


def level_map(jitter: Iterable[tuple[str, float]], mean: float) -> tuple[float, float]:
    """Composes changes of brightness and contrast of channels that are no colours.

    Args:
        jitter: Changes as (name, amount), in order.
        mean: Mean of all levels before them.

    Returns:
        The factor on a level and what is added to the product.
    """
    gain, shift = 1.0, 0.0
    for name, amount in jitter:
        level = gain * mean + shift if name == "contrast" else 0.0
        gain, shift = amount * gain, amount * shift + (1.0 - amount) * level
    return gain, shift


def hue_turn(shift: float) -> tuple[float, float, float]:
    """Returns the first row of the matrix that turns colours B, G, R about the axis of greys.

    The second and third row are the first, moved on by one and by two places.

    Args:
        shift: Share of the colour circle, from red towards yellow and green where positive.
    """
    cos, sin = math.cos(2 * math.pi * shift), math.sin(2 * math.pi * shift)
    third, across = (1.0 - cos) / 3, sin / math.sqrt(3)
    return cos + third, third + across, third - across


def _blend(share: float, first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    rest = 1.0 - share
    return (
        share * first[0] + rest * second[0],
        share * first[1] + rest * second[1],
        share * first[2] + rest * second[2],
    )


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
