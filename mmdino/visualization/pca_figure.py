"""Principal components of patch features beside images, in figures and animations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mmdino.evaluation.attention import resize_maps
from mmdino.visualization.attention_figure import (
    GAP,
    LINE,
    MARGIN,
    PANEL,
    ROW_LABEL,
    Sheet,
    panel_height,
    to_canvas,
    wrapped,
)
from mmdino.visualization.training_figure import STYLE

PER_ROW = 6
"""Images side by side in a figure."""
MAX_IMAGES = 120
"""Images that fit into a figure."""


def color_picture(colors: Tensor, shape: tuple[int, int], mode: str = "nearest") -> np.ndarray:
    """Enlarges colours of patches to the size of an image.

    Args:
        colors: Colours (h, w, 3) from 0 to 1.
        shape: Height H and width W in pixels.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    enlarged = resize_maps(colors.permute(2, 0, 1), shape, mode)
    return (255 * enlarged).round().byte().permute(1, 2, 0).numpy()


def draw_pca_figure(
    images: Sequence[np.ndarray],
    rows: Mapping[str, Sequence[Tensor]],
    notes: Sequence[str] = (),
    mode: str = "nearest",
) -> Figure:
    """Draws images, and below each the colours of its patches.

    Args:
        images: Images (H, W, 3) uint8, RGB, of any sizes.
        rows: By name, such as ``"PCA"``, the colours (h, w, 3) for each image.
        notes: Lines at the foot of the figure.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Returns:
        The figure, for :func:`write_figure`.

    Raises:
        ValueError: If there is no image, or too many.
    """
    check_number(len(images))
    across = min(len(images), PER_ROW)
    blocks = [
        range(start, min(start + across, len(images))) for start in range(0, len(images), across)
    ]
    heights = [max(panel_height(images[index]) for index in block) for block in blocks]
    left = MARGIN + ROW_LABEL
    width = left + across * (PANEL + GAP) - GAP + MARGIN
    lines = [line for note in notes for line in wrapped(note, width - 2 * MARGIN)]
    step = 1 + len(rows)
    foot = MARGIN + sum(step * (height + GAP) + 2 * GAP for height in heights)
    sheet = Sheet(width, foot + LINE * len(lines) + MARGIN)
    y = MARGIN
    with matplotlib.rc_context(STYLE):
        for block, height in zip(blocks, heights, strict=True):
            for row, label in enumerate(["image", *rows]):
                middle = y + row * (height + GAP) + height / 2
                sheet.write(left - 0.08, middle, label, rotation=90, ha="right", va="center")
            for column, index in enumerate(block):
                canvas = to_canvas(images[index])
                pictures = [canvas]
                for colors in rows.values():
                    pictures.append(color_picture(colors[index], canvas.shape[:2], mode))
                for row, picture in enumerate(pictures):
                    x = left + column * (PANEL + GAP)
                    sheet.show(x, y + row * (height + GAP), height, picture)
            y += step * (height + GAP) + 2 * GAP
        sheet.write(MARGIN, foot, "\n".join(lines), va="top", linespacing=1.35)
    return sheet.figure


def check_number(images: int) -> None:
    """Checks that a figure has room for a number of images.

    Raises:
        ValueError: If there is no image, or too many.
    """
    if not 1 <= images <= MAX_IMAGES:
        raise ValueError(
            f"A figure has 1 to {MAX_IMAGES} images, got {images}. Show every n-th image or frame, "
            "or write a file for each."
        )


def pca_frames(
    frames: Iterable[tuple[np.ndarray, Tensor]], mode: str = "nearest"
) -> Iterator[np.ndarray]:
    """Draws the frames of an animation: each image beside the colours of its patches.

    Args:
        frames: Images (H, W, 3) uint8, RGB, and the colours (h, w, 3) of their patches.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Yields:
        Frames (h', 2 w', 3) uint8, RGB.
    """
    for frame, colors in frames:
        canvas = to_canvas(frame)
        yield np.concatenate([canvas, color_picture(colors, canvas.shape[:2], mode)], axis=1)
