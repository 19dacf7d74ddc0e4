"""The random changes that make a view of an image, as plain functions.

Images are contiguous uint8 arrays of shape (H, W, C); where C is 3 the channels are BGR. Every
function returns a new array and leaves its input alone. Levels are rounded where Pillow cuts them
off, so brightness, contrast, saturation and grey are within one level of Pillow's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import torch
from torch.nn import functional as F

CROP_TRIES = 10
BGR_TO_GRAY = np.array([0.114, 0.587, 0.299])
"""Weights of the grey level (ITU-R BT.601), the ones of Pillow and OpenCV."""
BGR_TO_BGR = np.eye(3)

_SLAB = 4
"""Channels at a time: torch's fast resize of bytes stops at four, some OpenCV functions as well."""


def draw_crop_box(
    rng: np.random.Generator,
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

    torch's resize of bytes gives what Pillow's gives and takes a fraction of its time.

    Args:
        image: Image of shape (H, W, C).
        box: Top, left, height and width of the box, pixels.
        size: Height h and width w of the result, pixels.

    Returns:
        Image of shape (h, w, C).
    """
    top, left, height, width = box

    def resize(slab: np.ndarray) -> np.ndarray:
        # unsqueeze, unlike None, gives the batch a stride by which torch knows the memory format
        tensor = torch.from_numpy(slab).unsqueeze(0).permute(0, 3, 1, 2)
        resized = F.interpolate(
            tensor, size=size, mode="bicubic", antialias=True, align_corners=False
        )
        return np.ascontiguousarray(resized.permute(0, 2, 3, 1)[0].numpy())

    # torch would copy the strided crop anyway; a copy made here is writable and has no negative
    # strides, which torch asks for
    return _by_slabs(resize, image[top : top + height, left : left + width].copy())


def flip(image: np.ndarray) -> np.ndarray:
    """Flips an image of shape (H, W, C) left to right."""
    return _by_slabs(lambda slab: cv2.flip(slab, 1), image)


def jitter_color(
    rng: np.random.Generator,
    image: np.ndarray,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> np.ndarray:
    """Changes brightness, contrast, saturation and hue in random order by random amounts.

    Args:
        rng: Source of the draws.
        image: Image of shape (H, W, C).
        brightness: Largest change of the brightness factor from 1; 0 leaves this change out.
        contrast: The same for the contrast.
        saturation: The same for the saturation; must be 0 unless C is 3.
        hue: Largest turn as a share of the colour circle; must be 0 unless C is 3.

    Returns:
        Image of shape (H, W, C).
    """
    for step in rng.permutation(4).tolist():
        if step == 0 and brightness:
            image = adjust_brightness(image, _factor(rng, brightness))
        elif step == 1 and contrast:
            image = adjust_contrast(image, _factor(rng, contrast))
        elif step == 2 and saturation:
            image = adjust_saturation(image, _factor(rng, saturation))
        elif step == 3 and hue:
            image = adjust_hue(image, uniform(rng, -hue, hue))
    return image


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends an image of shape (H, W, C) with black: 0 gives black, 1 the image."""
    return _scale_and_shift(image, factor, 0.0)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blends an image with its mean grey level: 0 gives that level everywhere, 1 the image.

    Args:
        image: Image of shape (H, W, C). Where C is not 3 the mean is over all channels alike.
        factor: Weight of the image, at least 0.

    Returns:
        Image of shape (H, W, C).
    """
    if image.shape[2] == 3:
        mean = float(BGR_TO_GRAY @ cv2.mean(image)[:3])
    else:
        mean = cv2.mean(_rows(image))[0]
    return _scale_and_shift(image, factor, (1.0 - factor) * mean)


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
    # the circle has 256 steps, so a byte that overflows goes on where the circle begins
    hsv[..., 0] += np.uint8(round(256 * shift) % 256)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def to_gray(image: np.ndarray) -> np.ndarray:
    """Takes the colour from an image of shape (H, W, 3); its shape stays."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs an image, its border pixels repeated outwards.

    Args:
        image: Image of shape (H, W, C).
        sigma: Standard deviation of the Gaussian, pixels, greater than 0.

    Returns:
        Image of shape (H, W, C).
    """
    # two passes with a float kernel are up to three times as fast as cv2.GaussianBlur on bytes
    kernel = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma, cv2.CV_32F)
    return _by_slabs(
        lambda slab: cv2.sepFilter2D(slab, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE),
        image,
    )


def solarize(image: np.ndarray, threshold: int = 128) -> np.ndarray:
    """Inverts the levels of an image of shape (H, W, C) from a threshold on."""
    return cv2.LUT(_rows(image), _solarize_table(threshold)).reshape(image.shape)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a number from [low, high); three times as fast as ``rng.uniform``."""
    return low + (high - low) * rng.random()


def _factor(rng: np.random.Generator, amount: float) -> float:
    return uniform(rng, max(0.0, 1.0 - amount), 1.0 + amount)


def _scale_and_shift(image: np.ndarray, scale: float, shift: float) -> np.ndarray:
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
