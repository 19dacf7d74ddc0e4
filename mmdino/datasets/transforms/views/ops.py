"""The random changes that make a view of an image, as plain functions.

Images are contiguous uint8 arrays of shape (H, W, C), but that :func:`resize_crop` takes any
strides and 16 bits too; where C is 3 the channels are BGR. Every function returns a new array and
leaves its input alone. Levels are rounded where Pillow cuts them off, so brightness, contrast,
saturation and grey are within one level of Pillow's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cache

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mmdino.datasets.transforms.views.draws import QuickDraws

CROP_TRIES = 10
BGR_TO_GRAY = np.array([0.114, 0.587, 0.299])
"""Weights of the grey level (ITU-R BT.601), the ones of Pillow and OpenCV."""
BGR_TO_BGR = np.eye(3)
LEVELS_16_TO_8 = 257
"""White is 65535 in 16 bits and 255 in 8, and 65535 = 257 x 255."""

_SLAB = 4
"""Channels at a time: torch's fast resize of bytes stops at four, some OpenCV functions as well."""


def draw_crop_box(
    rng: np.random.Generator | QuickDraws,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
    """Draws the box of a random-resized crop (Szegedy et al., 2015).

    The area is uniform, the aspect ratio uniform in its logarithm. A draw that does not fit into
    the image is repeated; after ten the largest central box of an allowed ratio is taken.

    Args:
        rng: Source of the draw.
        height: Height of the image, pixels.
        width: Width of the image, pixels.
        scale: Range of the box's share of the image's area.
        ratio: Range of the box's width over its height.

    Returns:
        Top, left, height and width of the box, pixels. It lies inside the image and is not empty.
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
    image: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]
) -> np.ndarray:
    """Cuts a box out of an image and resizes it, bicubic and antialiased as Pillow does.

    torch's resize of bytes gives what Pillow's gives and takes a fraction of its time. Images of 16
    bits are resized in float32 and rounded to 8 bits once, after it.

    Args:
        image: uint8 or uint16 image of shape (H, W, C).
        box: Top, left, height and width of the box, pixels.
        size: Height h and width w of the result, pixels.

    Returns:
        uint8 image of shape (h, w, C).
    """
    top, left, height, width = box
    crop = image[top : top + height, left : left + width]

    def resize(slab: np.ndarray) -> np.ndarray:
        # reshape, unlike None, gives the batch a stride by which torch knows the memory format
        batch = slab.reshape(1, *slab.shape).transpose(0, 3, 1, 2)
        resized = F.interpolate(
            torch.from_numpy(batch), size=size, mode="bicubic", antialias=True, align_corners=False
        )
        return np.ascontiguousarray(resized.numpy()[0].transpose(1, 2, 0))

    if image.dtype == np.uint16:
        levels = resize(crop.astype(np.float32)) / LEVELS_16_TO_8
        return np.rint(levels.clip(0, 255)).astype(np.uint8)
    # torch would copy the strided crop anyway; a copy made here is writable and has no negative
    # strides, which torch asks for
    return _by_slabs(resize, crop.copy())


def flip(image: np.ndarray) -> np.ndarray:
    """Flips an image of shape (H, W, C) left to right."""
    return _by_slabs(lambda slab: cv2.flip(slab, 1), image)


def draw_jitter(
    rng: np.random.Generator | QuickDraws,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> list[tuple[str, float]]:
    """Draws changes of brightness, contrast, saturation and hue, in random order.

    Args:
        rng: Source of the draws.
        brightness: Largest change of the brightness factor from 1; 0 leaves this change out.
        contrast: The same for the contrast.
        saturation: The same for the saturation.
        hue: Largest turn as a share of the colour circle.

    Returns:
        Name and amount of each change: the factor, or the share of the circle.
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
    """Makes changes of colour one after the other, rounded and clipped after each.

    Args:
        image: Image of shape (H, W, C).
        jitter: Changes as :func:`draw_jitter` draws them. Where C is not 3: brightness and
            contrast.

    Returns:
        Image of shape (H, W, C).
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
    """Blends an image with its mean grey level: 0 gives that level everywhere, 1 the image.

    Args:
        image: Image of shape (H, W, C). Where C is not 3 the mean is over all channels alike.
        factor: Weight of the image, at least 0.

    Returns:
        Image of shape (H, W, C).
    """
    colors = image.shape[2] == 3
    mean = float(BGR_TO_GRAY @ cv2.mean(image)[:3]) if colors else mean_level(image)
    return scale_and_shift(image, factor, (1.0 - factor) * mean)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends an image of shape (H, W, 3) with its grey version: 0 gives that, 1 the image."""
    blend = factor * BGR_TO_BGR + (1.0 - factor) * BGR_TO_GRAY
    return cv2.transform(image, blend)


def adjust_hue(image: np.ndarray, shift: float) -> np.ndarray:
    """Turns the hue of an image, in HSV space.

    Args:
        image: Image of shape (H, W, 3).
        shift: Share of the colour circle, -0.5 to 0.5. Hues are kept in 256 steps.

    Returns:
        Image of shape (H, W, 3).
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    # The circle has 256 steps, so a byte that overflows goes on where the circle begins. Adding to
    # whole rows takes a third to a half of the time of adding to every third byte.
    steps = np.zeros(image.shape[1:], np.uint8)
    steps[:, 0] = round(256 * shift) % 256
    rows = _rows(hsv)
    np.add(rows, steps.ravel(), out=rows)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def to_gray(image: np.ndarray) -> np.ndarray:
    """Takes the colour from an image of shape (H, W, 3); its shape stays."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def gray_to_bgr(image: np.ndarray) -> np.ndarray:
    """Repeats the channel of an image of shape (H, W, 1) three times."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def gaussian_blur(image: np.ndarray, sigma: float, radius: int | None = None) -> np.ndarray:
    """Blurs an image, its border pixels repeated outwards.

    Args:
        image: Image of shape (H, W, C).
        sigma: Standard deviation of the Gaussian, pixels, greater than 0.
        radius: Pixels to each side that the kernel reaches; by default three deviations.

    Returns:
        Image of shape (H, W, C).
    """
    radius = math.ceil(3 * sigma) if radius is None else radius
    # two passes with a float kernel are up to three times as fast as cv2.GaussianBlur on bytes
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)
    return _by_slabs(
        lambda slab: cv2.sepFilter2D(slab, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE),
        image,
    )


def quick_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs with a kernel of two and a half deviations, a quarter shorter.

    It leaves out up to 1.2 % of the Gaussian. Pillow, the authors' blur, has three box filters for
    one, which reach no farther.
    """
    return gaussian_blur(image, sigma, round(2.5 * sigma))


def solarize(image: np.ndarray, threshold: int = 128) -> np.ndarray:
    """Inverts the levels of an image of shape (H, W, C) from a threshold on."""
    return cv2.LUT(_rows(image), _solarize_table(threshold)).reshape(image.shape)


def mean_level(image: np.ndarray) -> float:
    """Returns the mean of all levels of an image of shape (H, W, C), the channels alike."""
    return cv2.mean(_rows(image))[0]


def uniform(rng: np.random.Generator | QuickDraws, low: float, high: float) -> float:
    """Draws a number from [low, high); three times as fast as ``rng.uniform``."""
    return low + (high - low) * rng.random()


def scale_and_shift(image: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Multiplies the levels of an image of shape (H, W, C) and adds to them."""
    rows = _rows(image)
    return cv2.addWeighted(rows, scale, rows, 0.0, shift).reshape(image.shape)


def _rows(image: np.ndarray) -> np.ndarray:
    """Lays an image out as (H, W * C), so that OpenCV works on any number of channels."""
    return image.reshape(image.shape[0], -1)


def _by_slabs(operation: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Applies an operation that works on each channel by itself, a few channels at a time."""
    channels = image.shape[2]
    if channels > _SLAB:
        slabs = [image[..., i : i + _SLAB] for i in range(0, channels, _SLAB)]
        done = [_by_slabs(operation, np.ascontiguousarray(slab)) for slab in slabs]
        return np.concatenate(done, axis=2)
    result = operation(image)
    # OpenCV drops the channel axis of an image that has one channel
    return result[..., np.newaxis] if result.ndim == 2 else result


@cache
def _solarize_table(threshold: int) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[threshold:] = 255 - table[threshold:]
    table.flags.writeable = False
    return table
