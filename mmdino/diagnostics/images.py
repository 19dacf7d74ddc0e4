"""The images that networks are diagnosed on: all of one shape, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmdino.datasets.folder_listing import LeftOut, list_images
from mmdino.evaluation.image_input import IMAGENET, Statistics, network_input
from mmdino.visualization.media import IMAGE_SUFFIXES, read_image

T = TypeVar("T")


def find_images(path: Path, count: int | None = None) -> list[Path]:
    """Lists the images of a folder and of the folders in it, or the one image of a path.

    Args:
        path: The folder or image.
        count: Most images, evenly spaced in the list; None for all.

    Raises:
        FileNotFoundError: If it does not exist, or there is no image.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"The images {str(path)!r} do not exist: expected a folder of images, or an image."
        )
    found = [path]
    if path.is_dir():
        found = [path / name for name in list_images(str(path), IMAGE_SUFFIXES, LeftOut())]
    if not found:
        raise FileNotFoundError(
            f"The folder {str(path)!r} has no image with one of the suffixes "
            f"{', '.join(IMAGE_SUFFIXES)}. Give a folder of images."
        )
    taken = len(found) if count is None else min(count, len(found))
    return [found[index * len(found) // taken] for index in range(taken)]


def content_sha256(paths: Sequence[Path]) -> str:
    """Returns a hash of the content of files in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def even_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yields as few batches as possible, whose sizes differ by one at most."""
    number = -(-len(items) // size)
    ends = [index * len(items) // number for index in range(number + 1)]
    for start, stop in pairwise(ends):
        yield items[start:stop]


def read_batch(paths: Sequence[Path], shape: tuple[int, int]) -> list[np.ndarray]:
    """Reads images as :func:`crop_and_resize` returns them."""
    return [crop_and_resize(read_image(path), shape) for path in paths]


def crop_and_resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resizes the largest centre crop that has the proportions of a shape.

    Args:
        image: (h, w, C) or (h, w) of any size, uint8 or float32.
        shape: Height H and width W.

    Returns:
        (H, W, C) or (H, W), interpolated as in the evaluation of this project.
    """
    if image.ndim == 3 and (image.shape[2] != 3 or image.dtype != np.uint8):
        # What Pillow has no mode for.
        channels = [crop_and_resize(channel, shape) for channel in np.moveaxis(image, 2, 0)]
        # Pillow clips what overshoots at edges in 8 bits only.
        return np.stack(channels, axis=2).clip(0, 255)
    height, width = image.shape[:2]
    scale = min(height / shape[0], width / shape[1])
    top, left = (height - scale * shape[0]) / 2, (width - scale * shape[1]) / 2
    box = (max(left, 0), max(top, 0), min(width - left, width), min(height - top, height))
    picture = Image.fromarray(image)
    return np.asarray(picture.resize(shape[::-1], Image.Resampling.BICUBIC, box=box))


def batch_input(
    images: Sequence[np.ndarray],
    shape: tuple[int, int],
    vit: nn.Module,
    statistics: Statistics = IMAGENET,
) -> Tensor:
    """Returns the normalised pixels (B, 3, H, W) that enter a ViT.

    Args:
        images: Images (H, W, 3) uint8, RGB.
        shape: Height H and width W, multiples of the patch.
        vit: The network.
        statistics: By which its images are normalised.
    """
    weight = vit.patch_embed.projection.weight
    return torch.cat(
        [network_input(image, weight.shape[-1], min(shape), weight, statistics) for image in images]
    )


def check_shape(shape: tuple[int, int], vit: nn.Module, name: str) -> None:
    """Checks that a shape divides into the patches of a ViT.

    Raises:
        ValueError: If it does not.
    """
    patch = vit.patch_embed.projection.stride[0]
    if any(side < 1 or side % patch for side in shape):
        raise ValueError(
            f"{name} has patches of {patch} pixels, and {shape[0]} x {shape[1]} (height x width) "
            f"does not divide into them. Give a --size of multiples of {patch}."
        )
