"""Colour changes composed into affine maps, as few as clipping and the hue allow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from mmdino.datasets.transforms.views.ops import (
    BGR_TO_GRAY,
    adjust_hue,
    mean_level,
    scale_and_shift,
)

_GRAY = tuple(BGR_TO_GRAY.tolist())
CLIPPING = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.2}
"""Factors above which a change clips many levels; more saturation clips vivid colours only, which
are few up to DINO's strongest change."""
FACTOR_STEPS = 1024
"""OpenCV multiplies bytes by factors of whole 1024ths."""


def map_colors(image: np.ndarray, jitter: Iterable[tuple[str, float]], gray: bool) -> np.ndarray:
    """Applies colour jitter and greyscale conversion.

    Brightness, contrast, saturation and greyscale conversion are affine in the colour, so they can
    be composed, up to rounding. The image is computed in between only after a change that clips
    many levels, and before and after a shift of the hue, which is not affine.

    Args:
        image: Image of shape (H, W, C).
        jitter: Changes from ``draw_jitter``; only brightness and contrast if C is not 3.
        gray: Whether to convert to greyscale; requires C = 3.

    Returns:
        Image of shape (H, W, C), or (H, W, 1) if converted to greyscale.
    """
    *computed, last = split_into_maps(jitter)
    if gray and last and _clips(*last[-1]):
        computed, last = [*computed, last], []
    for changes in computed:
        image = _apply(image, changes, gray=False)
    return _apply(image, last, gray)


def split_into_maps(jitter: Iterable[tuple[str, float]]) -> Iterator[list[tuple[str, float]]]:
    """Yields groups of consecutive changes (name, amount) to compose; the last may be empty.

    A shift of the hue is alone in its group, and one that clips the last of its own.
    """
    group: list[tuple[str, float]] = []
    for name, amount in jitter:
        if name == "hue":
            if group:
                yield group
            yield [(name, amount)]
            group = []
            continue
        if group and _clips(*group[-1]):
            yield group
            group = []
        group.append((name, amount))
    yield group


def _clips(name: str, amount: float) -> bool:
    """Returns whether a change, of anything but the hue, clips many levels."""
    return amount > CLIPPING[name]


def _apply(image: np.ndarray, changes: Sequence[tuple[str, float]], gray: bool) -> np.ndarray:
    """Applies a group of :func:`split_into_maps`, rounded and clipped once."""
    if not changes:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., np.newaxis] if gray else image
    if changes[0][0] == "hue":
        return adjust_hue(image, changes[0][1])
    # Only the contrast depends on the mean.
    with_mean = any(name == "contrast" for name, _ in changes)
    if image.shape[2] != 3:
        level = mean_level(image) if with_mean else 0.0
        return scale_and_shift(image, *level_map(changes, level))
    level = float(BGR_TO_GRAY @ cv2.mean(image)[:3]) if with_mean else 0.0
    mapped = cv2.transform(image, color_map(changes, level, gray))
    # In OpenCV a transform to one channel takes five times as long as one to three.
    return cv2.extractChannel(mapped, 0)[..., np.newaxis] if gray else mapped


def color_map(changes: Iterable[tuple[str, float]], mean: float, gray: bool = False) -> np.ndarray:
    """Composes changes of brightness, contrast and saturation.

    Args:
        changes: Changes as (name, amount), in order.
        mean: Mean grey level of the image before the changes, for the contrast.
        gray: Whether to convert to greyscale after them.

    Returns:
        Affine map (3, 4): a colour c becomes ``map[:, :3] @ c + map[:, 3]``. Its factors are whole
        1024ths, with the same sum in each row, so that grey stays grey.
    """
    changes = list(changes)
    # The saturation leaves the grey level as it is, so it commutes with the other two.
    gain, shift = level_map(changes, mean)
    blend = 0.0 if gray else math.prod(amount for name, amount in changes if name == "saturation")
    # Python's numbers take a fifth of the time of such small arrays.
    blue, green, red = (round(FACTOR_STEPS * gain * (1.0 - blend) * weight) for weight in _GRAY)
    own = round(FACTOR_STEPS * gain) - blue - green - red
    steps = (
        (blue + own, green, red, 0),
        (blue, green + own, red, 0),
        (blue, green, red + own, 0),
    )
    matrix = np.array(steps) / FACTOR_STEPS
    matrix[:, 3] = shift
    return matrix


def level_map(changes: Iterable[tuple[str, float]], mean: float) -> tuple[float, float]:
    """Composes changes of brightness and contrast; a change of saturation is skipped.

    Returns scale and shift, which map a level x to ``scale * x + shift``, for an image whose mean
    level is ``mean``: over all channels, or that of its grey if they are colours.
    """
    gain, shift = 1.0, 0.0
    for name, amount in changes:
        if name == "saturation":
            continue
        level = gain * mean + shift if name == "contrast" else 0.0
        gain, shift = amount * gain, amount * shift + (1.0 - amount) * level
    return gain, shift
