"""Colour changes composed into affine maps, as few as clipping allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from mmdino.datasets.transforms.views.ops import BGR_TO_GRAY, mean_level, scale_and_shift

_GRAY = tuple(BGR_TO_GRAY.tolist())
LEVEL_CHANGES = ("brightness", "contrast")
"""Changes that act on all channels alike and, with a factor above 1, clip many levels."""
FACTOR_STEPS = 1024
"""OpenCV multiplies bytes by factors of whole 1024ths."""


def map_colors(image: np.ndarray, jitter: Iterable[tuple[str, float]], gray: bool) -> np.ndarray:
    """Applies colour jitter and greyscale conversion.

    Brightness, contrast, saturation and greyscale conversion are affine in the colour, so they can
    be composed, up to rounding. Only after a factor above 1 on brightness or contrast, which clips,
    is the image computed before the next change. The hue is rotated about the grey axis, which
    preserves the sum of the channels; a rotation in HSV space preserves their maximum and minimum.

    Args:
        image: Image of shape (H, W, C).
        jitter: Changes from ``draw_jitter``; only brightness and contrast if C is not 3.
        gray: Whether to convert to greyscale; requires C = 3.

    Returns:
        Image of shape (H, W, C), or (H, W, 1) if converted to greyscale.
    """
    *clipped, last = split_at_clipping(jitter)
    if gray and last and _clips(*last[-1]):
        clipped, last = [*clipped, last], []
    for changes in clipped:
        image = _apply(image, changes, gray=False)
    return _apply(image, last, gray)


def split_at_clipping(jitter: Iterable[tuple[str, float]]) -> Iterator[list[tuple[str, float]]]:
    """Yields groups of consecutive changes (name, amount) to compose; the last may be empty.

    A factor of at most 1 clips nothing, and more saturation clips only the few vivid colours.
    """
    group: list[tuple[str, float]] = []
    for change in jitter:
        if group and _clips(*group[-1]):
            yield group
            group = []
        group.append(change)
    yield group


def _clips(name: str, amount: float) -> bool:
    """Returns whether a change clips many levels."""
    return name in LEVEL_CHANGES and amount > 1


def _apply(image: np.ndarray, changes: Sequence[tuple[str, float]], gray: bool) -> np.ndarray:
    """Applies changes as one map, rounded and clipped once."""
    if not changes:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., np.newaxis] if gray else image
    # Only the contrast depends on the mean.
    with_mean = any(name == "contrast" for name, _ in changes)
    if image.shape[2] != 3:
        level = mean_level(image) if with_mean else 0.0
        return scale_and_shift(image, *level_map(changes, level))
    mean = cv2.mean(image)[:3] if with_mean else (0.0, 0.0, 0.0)
    matrix = color_map(changes, mean, gray)
    if image.dtype == np.uint8:
        matrix = gray_kept(matrix)
    mapped = cv2.transform(image, matrix)
    # In OpenCV a transform to one channel takes five times as long as one to three.
    return cv2.extractChannel(mapped, 0)[..., np.newaxis] if gray else mapped


def color_map(
    jitter: Iterable[tuple[str, float]], mean: Sequence[float], gray: bool = False
) -> np.ndarray:
    """Composes colour changes.

    Args:
        jitter: Changes as (name, amount), each name at most once, in order.
        mean: Mean B, G, R of the image before the changes, for the contrast.
        gray: Whether to convert to greyscale after them.

    Returns:
        Affine map (3, 4): a colour c becomes ``map[:, :3] @ c + map[:, 3]``.
    """
    # Let R be the hue rotation, w the (row) weights of grey and 1 the column of ones. Since R 1 = 1
    # and w 1 = 1, the composition so far is always gain * (blend * R + (1 - blend) * 1 q) plus a
    # shift common to all channels, where q is w R if the hue was rotated before the saturation
    # changed, else w. Python floats take a fifth of the time of such small arrays.
    gain, shift, blend = 1.0, 0.0, 1.0
    rotation = (1.0, 0.0, 0.0)
    rotated = faded = _GRAY  # w R, and q
    for name, amount in jitter:
        if name == "brightness":
            gain, shift = amount * gain, amount * shift
        elif name == "contrast":
            weights = _blend(blend, rotated, faded)
            level = gain * _dot(weights, mean) + shift
            gain, shift = amount * gain, amount * shift + (1.0 - amount) * level
        elif name == "saturation":
            blend, faded = amount, rotated
        else:
            rotation = a, b, c = hue_rotation(amount)
            rotated = _dot(_GRAY, (a, c, b)), _dot(_GRAY, (b, a, c)), _dot(_GRAY, (c, b, a))
    if gray:
        rows = [_blend(blend, rotated, faded)] * 3
    else:
        a, b, c = rotation
        rows = [_blend(blend, row, faded) for row in ((a, b, c), (c, a, b), (b, c, a))]
    return np.array([[gain * x, gain * y, gain * z, shift] for x, y, z in rows])


def gray_kept(matrix: np.ndarray) -> np.ndarray:
    """Rounds a map of :func:`color_map` to OpenCV's steps so that grey stays grey.

    Rounded one by one, the factors of the rows differ in their sum, which tints grey by a level.
    """
    rows = [[round(FACTOR_STEPS * factor) for factor in row] for row in matrix[:, :3].tolist()]
    total = round(FACTOR_STEPS * float(matrix[0, :3].sum()))
    for row in rows:
        # Where it changes least in proportion.
        largest = max(range(3), key=lambda place: abs(row[place]))
        row[largest] += total - sum(row)
    return np.column_stack([np.array(rows) / FACTOR_STEPS, matrix[:, 3]])


def level_map(jitter: Iterable[tuple[str, float]], mean: float) -> tuple[float, float]:
    """Composes brightness and contrast changes of images whose channels are not colours.

    Returns scale and shift, which map a level x to ``scale * x + shift``, for an image whose mean
    over all levels and channels is ``mean``.
    """
    gain, shift = 1.0, 0.0
    for name, amount in jitter:
        level = gain * mean + shift if name == "contrast" else 0.0
        gain, shift = amount * gain, amount * shift + (1.0 - amount) * level
    return gain, shift


def hue_rotation(shift: float) -> tuple[float, float, float]:
    """Returns the first row of the (circulant) matrix that rotates B, G, R about the grey axis.

    ``shift`` is the angle as a fraction of the hue circle, positive from red to yellow.
    """
    cos, sin = math.cos(2 * math.pi * shift), math.sin(2 * math.pi * shift)
    third, across = (1.0 - cos) / 3, sin / math.sqrt(3)
    return cos + third, third + across, third - across


def _blend(weight: float, first: Sequence[float], second: Sequence[float]) -> tuple[float, ...]:
    rest = 1.0 - weight
    return (
        weight * first[0] + rest * second[0],
        weight * first[1] + rest * second[1],
        weight * first[2] + rest * second[2],
    )


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
