"""The image operations of a view, as plain functions.

Images are contiguous uint8 arrays of shape (H, W, C), in BGR if C is 3; :func:`resize_crop` also
takes other strides and uint16. Every function returns a new array and does not modify its input.
Levels are rounded where Pillow truncates, so brightness, contrast, saturation and greyscale are
within one level of Pillow's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mmdino.datasets.transforms.views.draws import BatchedDraws

CROP_TRIES = 10
BGR_TO_GRAY = np.array([0.114, 0.587, 0.299])
"""Weights of the grey level (ITU-R BT.601), as in Pillow and OpenCV."""
LEVELS_16_TO_8 = 257
"""65535 / 255: the divisor from 16-bit to 8-bit levels."""

_MAX_CHANNELS = 4
"""Limit of torch's fast resize of bytes and of some OpenCV functions."""


def draw_crop_box(
    rng: np.random.Generator | BatchedDraws,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Draws the box of a random-resized crop (Szegedy et al., 2015).

    The area is uniform and the aspect ratio log-uniform. A box that does not fit into the image is
    redrawn up to ``CROP_TRIES`` times; then the largest central box of a valid ratio is used.

    Args:
        rng: Source of the draw.
        height: Height of the image, pixels.
        width: Width of the image, pixels.
        scale: Range of the box's area over the image's.
        ratio: Range of the box's width over its height.

    Returns:
        Top, left, height and width of the box, pixels; inside the image and not empty.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(CROP_TRIES):
        area = height * width * uniform(rng, *scale)
        aspect = math.exp(uniform(rng, low, high))
        w = round(math.sqrt(area * aspect))
        h = round(math.sqrt(area / aspect))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    h = min(height, max(1, round(width / ratio[0])))
    w = min(width, max(1, round(height * ratio[1])))
    return (height - h) // 2, (width - w) // 2, h, w


def resize_crop(
    image: np.ndarray,
    box: tuple[int, int, int, int],
    size: tuple[int, int],
    interpolation: str = "bicubic",
) -> np.ndarray:
    """Crops a box and resizes it with antialiasing as in Pillow.

    torch's resize of bytes matches Pillow's and is several times faster. 16-bit images are resized
    in float32 and rounded to 8 bits afterwards.

    Args:
        image: uint8 or uint16 image of shape (H, W, C).
        box: Top, left, height and width of the box, pixels.
        size: Height h and width w of the result, pixels.
        interpolation: ``"bicubic"`` or ``"bilinear"``.

    Returns:
        uint8 image of shape (h, w, C).
    """
    top, left, height, width = box
    crop = image[top : top + height, left : left + width]

    def resize(part: np.ndarray) -> np.ndarray:
        # reshape, unlike np.newaxis, sets a batch stride from which torch infers channels-last.
        batch = part.reshape(1, *part.shape).transpose(0, 3, 1, 2)
        resized = F.interpolate(
            torch.from_numpy(batch),
            size=size,
            mode=interpolation,
            antialias=True,
            align_corners=False,
        )
        return np.ascontiguousarray(resized.numpy()[0].transpose(1, 2, 0))

    if image.dtype == np.uint16:
        levels = resize(crop.astype(np.float32)) / LEVELS_16_TO_8
        return np.rint(levels.clip(0, 255)).astype(np.uint8)
    # torch needs a writable array without negative strides, and would copy a strided one anyway.
    return _by_channels(resize, crop.copy())


def flip(image: np.ndarray) -> np.ndarray:
    """Flips an image of shape (H, W, C) left to right."""
    return _by_channels(lambda part: cv2.flip(part, 1), image)


def draw_jitter(
    rng: np.random.Generator | BatchedDraws,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> list[tuple[str, float]]:
    """Draws changes of brightness, contrast, saturation and hue, in random order.

    Args:
        rng: Source of the draws.
        brightness: Maximum deviation of the brightness factor from 1; 0 omits the change.
        contrast: The same for the contrast.
        saturation: The same for the saturation.
        hue: Maximum shift as a fraction of the hue circle; 0 omits the change.

    Returns:
        Changes as (name, amount): a factor, or a fraction of the hue circle.
    """
    limits = (
        ("brightness", brightness),
        ("contrast", contrast),
        ("saturation", saturation),
        ("hue", hue),
    )
    changes = []
    for step in rng.permutation(4):
        name, limit = limits[step]
        if limit:
            low = -limit if name == "hue" else max(0.0, 1.0 - limit)
            changes.append((name, uniform(rng, low, limit if name == "hue" else 1.0 + limit)))
    return changes


def jitter_color(image: np.ndarray, jitter: Iterable[tuple[str, float]]) -> np.ndarray:
    """Applies the changes of :func:`draw_jitter` in order, rounded and clipped after each.

    Only brightness and contrast are defined if the image (H, W, C) does not have three channels.
    """
    adjust = {
        "brightness": adjust_brightness,
        "contrast": adjust_contrast,
        "saturation": adjust_saturation,
        "hue": adjust_hue,
    }
    for name, amount in jitter:
        image = adjust[name](image, amount)
    return image


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends an image of shape (H, W, C) with black: 0 gives black, 1 the image."""
    return scale_and_shift(image, factor, 0.0)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends an image of shape (H, W, C) with its mean grey level: 0 gives that, 1 the image.

    If C is not 3, the mean is over all channels.
    """
    colors = image.shape[2] == 3
    mean = float(BGR_TO_GRAY @ cv2.mean(image)[:3]) if colors else mean_level(image)
    return scale_and_shift(image, factor, (1.0 - factor) * mean)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends an image of shape (H, W, 3) with its greyscale version: 0 gives that, 1 the image."""
    blend = factor * np.eye(3) + (1.0 - factor) * BGR_TO_GRAY
    return cv2.transform(image, blend)


def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Shifts the hue of an image of shape (H, W, 3) in HSV space, quantised to 256 hues.

    ``shift`` is a fraction of the hue circle, -0.5 to 0.5.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    # With 256 hues the overflow of a byte wraps around the circle. Adding to full rows takes a
    # third to a half of the time of adding to every third byte.
    steps = np.zeros(image.shape[1:], np.uint8)
    steps[:, 0] = round(256 * shift) % 256
    rows = _rows(hsv)
    np.add(rows, steps.ravel(), out=rows)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def to_gray(image: np.ndarray) -> np.ndarray:
    """Converts an image of shape (H, W, 3) to greyscale, with three equal channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def gray_to_bgr(image: np.ndarray) -> np.ndarray:
    """Converts an image of shape (H, W, 1) to three equal channels."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def gaussian_blur(image: np.ndarray, sigma: float, radius: int | None = None) -> np.ndarray:
    """Blurs an image with a Gaussian, replicating the border.

    Args:
        image: Image of shape (H, W, C).
        sigma: Standard deviation of the Gaussian, pixels, greater than 0.
        radius: Radius of the kernel, pixels; by default three standard deviations.
    """
    radius = math.ceil(3 * sigma) if radius is None else radius
    # Two passes with a float kernel are up to three times as fast as cv2.GaussianBlur on bytes.
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)
    return _by_channels(
        lambda part: cv2.sepFilter2D(part, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE),
        image,
    )


def truncated_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs with a kernel of 2.5 standard deviations, which omits up to 1.2 % of the Gaussian.

    The authors' blur, Pillow's, is three box filters, whose support is no larger.
    """
    return gaussian_blur(image, sigma, round(2.5 * sigma))


def solarize(image: np.ndarray, threshold: int = 128) -> np.ndarray:
    """Inverts the levels of an image of shape (H, W, C) that are at least ``threshold``."""
    return cv2.LUT(_rows(image), _solarize_table(threshold)).reshape(image.shape)


def mean_level(image: np.ndarray) -> float:
    """Returns the mean over all levels and channels of an image of shape (H, W, C)."""
    return cv2.mean(_rows(image))[0]


def uniform(rng: np.random.Generator | BatchedDraws, low: float, high: float) -> float:
    """Draws a number from [low, high); three times as fast as ``rng.uniform``."""
    return low + (high - low) * rng.random()


def scale_and_shift(image: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Maps each level x of an image of shape (H, W, C) to ``scale * x + shift``."""
    rows = _rows(image)
    return cv2.addWeighted(rows, scale, rows, 0.0, shift).reshape(image.shape)


def _rows(image: np.ndarray) -> np.ndarray:
    """Reshapes an image to (H, W * C), so that OpenCV takes any number of channels."""
    return image.reshape(image.shape[0], -1)


def _by_channels(operation: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Applies a channel-wise operation to at most ``_MAX_CHANNELS`` channels at a time."""
    channels = image.shape[2]
    if channels > _MAX_CHANNELS:
        parts = [image[..., i : i + _MAX_CHANNELS] for i in range(0, channels, _MAX_CHANNELS)]
        done = [_by_channels(operation, np.ascontiguousarray(part)) for part in parts]
        return np.concatenate(done, axis=2)
    result = operation(image)
    # OpenCV drops the channel axis if there is one channel.
    return result[..., np.newaxis] if result.ndim == 2 else result


@cache
def _solarize_table(threshold: int) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[threshold:] = 255 - table[threshold:]
    table.flags.writeable = False
    return table
