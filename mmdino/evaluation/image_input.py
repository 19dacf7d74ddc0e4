"""How an image of any size and shape enters a network, without being cropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.preprocessors.multi_view_preprocessor import IMAGENET_MEAN, IMAGENET_STD

TRAINED_SIZE, SIZE_TO_LOOK_AT = 224, 480
"""The authors visualise networks trained at 224 px at 480 px."""

MAX_PATCHES = 2**17
"""Patches of an image, about those of a photograph of 3840 x 2160 pixels and patches of 8."""


class Statistics(NamedTuple):
    """Mean and standard deviation of each channel, 0 to 255, by which a network's images are
    normalised."""

    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD


IMAGENET = Statistics()


def reference_size(backbone: nn.Module) -> int:
    """Returns the shorter side, in pixels, at which a network looks at photographs.

    That is 480 px for a network of 224 px, as the authors do, and in proportion for others: at much
    larger sizes a patch shows too little and the position embeddings are stretched too far. A
    network without ``img_size``, such as a ResNet, counts as one of 224 px.
    """
    trained = min(getattr(backbone, "img_size", (TRAINED_SIZE,)))
    return round(SIZE_TO_LOOK_AT * trained / TRAINED_SIZE)


def viewing_size(backbone: nn.Module, image: np.ndarray) -> int:
    """Returns the default shorter side of an image: its own, at most :func:`reference_size`."""
    return min(*image.shape[:2], reference_size(backbone))


def input_shape(
    height: int, width: int, patch_size: int, size: int | None = None
) -> tuple[int, int]:
    """Computes the shape at which an image enters a network without being cropped.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        patch_size: Side of a patch in pixels.
        size: Shorter side in pixels; None for the image's own.

    Returns:
        Height and width at that size, each rounded to a multiple of the patch.

    Raises:
        ValueError: If the image, or ``size``, is smaller than a patch, or there would be more than
            ``MAX_PATCHES``.
    """
    own = min(height, width)
    if own < 1:
        raise ValueError(f"The image of {width} x {height} pixels is empty.")
    shorter = own if size is None else size
    if shorter < patch_size:
        raise ValueError(
            f"The image of {width} x {height} pixels would enter the network with a shorter side "
            f"of {shorter}, less than a patch of {patch_size}. Give a size, which is that side in "
            f"pixels, of at least {patch_size}."
        )
    scale = shorter / own
    rows, columns = (max(1, round(side * scale / patch_size)) for side in (height, width))
    if rows * columns > MAX_PATCHES:
        raise ValueError(
            f"The image of {width} x {height} pixels would enter the network as {columns} x {rows} "
            f"patches of {patch_size} pixels, more than {MAX_PATCHES}. Give a smaller size, which "
            "is the shorter side in pixels, or crop the image."
        )
    return rows * patch_size, columns * patch_size


def network_input(
    image: np.ndarray,
    patch_size: int,
    size: int | None,
    like: Tensor,
    statistics: Statistics = IMAGENET,
) -> Tensor:
    """Resizes an image to :func:`input_shape` and normalises it.

    Args:
        image: (H, W, C) uint8 or float32, 0 to 255; colours in RGB.
        patch_size: Side of a patch in pixels.
        size: Shorter side, in pixels; None for the image's own.
        like: Tensor on the device and of the type of the result.
        statistics: Of the C channels.

    Returns:
        Pixels (1, C, H', W').

    Raises:
        ValueError: If the image has other channels, is smaller than a patch or has too many.
    """
    channels = len(statistics.mean)
    if image.ndim != 3 or image.shape[2] != channels or image.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"A network needs an image (H, W, {channels}) of uint8 or float32"
            f"{' in RGB' if channels == 3 else ''}, got {image.dtype} of shape {image.shape}."
        )
    pixels = torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    pixels = pixels.to(like.device, torch.float32)
    shape = input_shape(*image.shape[:2], patch_size, size)
    if pixels.shape[-2:] != shape:
        pixels = functional.interpolate(pixels, size=shape, mode="bicubic", antialias=True)
        pixels.clamp_(0, 255)
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in statistics)
    return ((pixels - mean) / std).to(like.dtype)
