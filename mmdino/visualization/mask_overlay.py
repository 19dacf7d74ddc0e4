"""Masks of objects: as palette PNGs, and drawn on the frames of a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmdino.utils.atomic_write import atomic_write

COLOR_WEIGHT = 0.5
"""Of an object's colour on a frame; the rest is the frame."""
OUTLINE = (255, 255, 255)


def voc_palette(colors: int = 256) -> np.ndarray:
    """Returns the colours (N, 3) uint8 of PASCAL VOC, which DAVIS takes too; 0 is black.

    The lowest three bits of a label are the highest of red, green and blue, and so on.
    """
    labels = np.arange(colors)
    palette = np.zeros((colors, 3), dtype=int)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((labels >> (3 * bit + channel)) & 1) << (7 - bit)
    return palette.astype(np.uint8)


def write_palette_png(path: Path, labels: np.ndarray) -> None:
    """Writes labels (H, W) uint8 atomically as a PNG with the colours of DAVIS."""
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())
    with atomic_write(path) as temporary:
        image.save(temporary, format="png")


def draw_objects(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draws objects in their colours, with outlines, on a frame.

    Args:
        frame: (H, W, 3) uint8, RGB.
        labels: (H, W) uint8, 0 for the background.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    mixed = COLOR_WEIGHT * voc_palette()[labels] + (1 - COLOR_WEIGHT) * frame
    picture = np.where(labels[..., None] > 0, mixed.round(), frame).astype(np.uint8)
    for number in np.unique(labels[labels > 0]):
        mask = (labels == number).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        picture = cv2.drawContours(picture, outlines, -1, OUTLINE, 1)
    return picture


def object_frames(
    frames: Iterable[np.ndarray], labels: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields frames with their objects, see :func:`draw_objects`."""
    return (draw_objects(*pair) for pair in zip(frames, labels, strict=True))
