"""Attention maps as overlays and masks, and figures of one or several images.

Uses matplotlib's object-oriented interface only, without pyplot's global state.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mmdino.evaluation.attention import attention_mask, resize_maps
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.command_line import FIGURE_SUFFIXES
from mmdino.visualization.training_figure import STYLE

COLORMAP = "inferno"
OUTLINE = (86, 180, 233)  # Okabe and Ito's sky blue, which the colour map does not contain.
HEAT_WEIGHT = 0.65  # of the heat map in an overlay; the rest is the image
OUTSIDE_BRIGHTNESS = 0.25  # factor on the brightness outside of a mask
OUTLINE_WIDTH = 1 / 220  # of the mean side

# Pixels. Small images are enlarged so that an outline is thin compared with a patch.
MIN_SHORTER_SIDE, MAX_SHORTER_SIDE = 240, 480
MAX_LONGER_SIDE = 2000

# Inches.
PANEL = 1.5
MAX_PANEL_HEIGHT = 2.2
MIN_CELL_HEIGHT = 0.65  # fits the label of a row
GAP = 0.06
TITLE = 0.2  # per line
GROUP_TITLE = 0.24
COLOR_BAR = 0.5
LINE = 0.15
CHARACTER_WIDTH = 0.06  # upper estimate of the mean
ROW_LABEL = 0.26
MARGIN = 0.12
MAX_PANELS_PER_ROW = 7
DPI = 150


def to_canvas(image: np.ndarray) -> np.ndarray:
    """Scales an image (H, W, 3) to the size of a panel, keeping its aspect ratio."""
    shorter, longer = sorted(image.shape[:2])
    times = min(-(-MIN_SHORTER_SIDE // shorter), MAX_LONGER_SIDE // longer)
    if times > 1:
        return image.repeat(times, axis=0).repeat(times, axis=1)
    scale = min(MAX_SHORTER_SIDE / shorter, MAX_LONGER_SIDE / longer)
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def colorize(heat: np.ndarray) -> np.ndarray:
    """Maps values (H, W) from 0 to 1 to colours (H, W, 3) uint8."""
    return (255 * matplotlib.colormaps[COLORMAP](heat)[..., :3]).round().astype(np.uint8)


def draw_outline(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draws the outline of a mask (H, W) on a copy of an image (H, W, 3)."""
    picture = np.ascontiguousarray(picture).copy()
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(OUTLINE_WIDTH * sum(mask.shape) / 2))
    return cv2.drawContours(picture, outlines, -1, OUTLINE, width)


def overlay(image: np.ndarray, heat: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Blends the colours of attention (H, W) from 0 to 1 with the image (H, W, 3) in greyscale.

    The mask (H, W), if given, is outlined.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    mixed = HEAT_WEIGHT * colorize(heat) + (1 - HEAT_WEIGHT) * grey
    picture = mixed.round().astype(np.uint8)
    return picture if mask is None else draw_outline(picture, mask)


def darken_outside(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Darkens an image (H, W, 3) outside of a mask (H, W)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.where(mask[..., None], image, (OUTSIDE_BRIGHTNESS * grey).astype(np.uint8))


def draw_panels(
    image: np.ndarray, maps: Tensor, fraction: float, mode: str = "nearest"
) -> list[dict[str, np.ndarray]]:
    """Draws each attention map in three ways.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps: Attention (heads, h, w).
        fraction: Fraction of the attention that a mask holds.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Returns:
        Per map ``attention``, ``overlay`` and ``mask``, images (h', w', 3) uint8 of the size of
        :func:`to_canvas`. Colours range from 0 to the peak of the map.
    """
    canvas = to_canvas(image)
    shape = canvas.shape[:2]
    peaks = maps.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    heats = resize_maps(maps / peaks, shape, mode).numpy()
    masks = resize_maps(attention_mask(maps, fraction), shape).numpy()
    return [
        {
            "attention": colorize(heat),
            "overlay": overlay(canvas, heat, mask),
            "mask": darken_outside(canvas, mask),
        }
        for heat, mask in zip(heats, masks, strict=True)
    ]


def with_mean(maps: Tensor, heads: Sequence[int]) -> tuple[list[str], Tensor]:
    """Returns names and maps of the mean over heads and of selected heads, (1 + selected, h, w).

    Raises:
        ValueError: If there is no such head.
    """
    check_heads(heads, len(maps))
    names = [f"mean of {len(maps)} heads", *(f"head {head}" for head in heads)]
    return names, torch.cat([maps.mean(0, keepdim=True), maps[list(heads)]])


def check_heads(heads: Sequence[int], num_heads: int) -> None:
    """Raises ValueError if a head does not exist."""
    missing = [head for head in heads if not 0 <= head < num_heads]
    if missing:
        raise ValueError(
            f"There is no head {', '.join(map(str, missing))}: the network has {num_heads} heads, "
            f"0 to {num_heads - 1}."
        )


def peak_text(attention: Tensor) -> str:
    """Describes the ratio of the maximum of a map (h, w) to that of uniform attention."""
    return f"peak {(attention.max() / attention.mean()).item():.1f} \u00d7 even"


def draw_attention_figure(
    image: np.ndarray,
    maps: Tensor,
    fraction: float,
    heads: Sequence[int] | None = None,
    notes: Sequence[str] = (),
    mode: str = "nearest",
) -> Figure:
    """Draws attention, overlay and mask of one image, for the mean over heads and for each head.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps: Attention (heads, h, w).
        fraction: Fraction of the attention that a mask holds.
        heads: Heads to show, from 0; None for all.
        notes: Lines below the image.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Returns:
        The figure, for :func:`write_figure`.

    Raises:
        ValueError: If there is no such head.
    """
    names, shown = with_mean(maps, range(len(maps)) if heads is None else heads)
    kinds = {"attention": "attention", "overlay": "overlay", "mask": f"{100 * fraction:g} % mask"}
    panels = draw_panels(image, shown, fraction, mode)
    height = max(panel_height(image), MIN_CELL_HEIGHT)
    across = min(len(panels), MAX_PANELS_PER_ROW)
    blocks = -(-len(panels) // across)
    top = 2 * TITLE - 0.04
    block = top + len(kinds) * (height + GAP)
    left = MARGIN + PANEL + GAP + ROW_LABEL
    lines = [line for note in (*notes, *size_notes(image, maps)) for line in wrapped(note)]
    notes_height = COLOR_BAR + LINE * len(lines)
    sheet = Sheet(
        left + across * (PANEL + GAP) - GAP + MARGIN,
        max(blocks * block - GAP, top + height + notes_height) + 2 * MARGIN,
    )
    with matplotlib.rc_context(STYLE):
        sheet.show(MARGIN, MARGIN + top, height, to_canvas(image), "image")
        y = MARGIN + top + height
        sheet.color_bar(MARGIN, y)
        sheet.write(MARGIN, y + COLOR_BAR, "\n".join(lines), va="top", linespacing=1.35)
        for index, (name, panel) in enumerate(zip(names, panels, strict=True)):
            row, column = divmod(index, across)
            x = left + column * (PANEL + GAP)
            for step, (kind, label) in enumerate(kinds.items()):
                y = MARGIN + row * block + top + step * (height + GAP)
                title = f"{name}\n{peak_text(shown[index])}" if step == 0 else ""
                sheet.show(x, y, height, panel[kind], title)
                if column == 0:
                    middle = y + height / 2
                    sheet.write(x - 0.08, middle, label, rotation=90, ha="right", va="center")
    return sheet.figure


def size_notes(image: np.ndarray, maps: Tensor) -> list[str]:
    """Describes the sizes of an image and of its map (..., h, w)."""
    rows, columns = maps.shape[-2:]
    height, width = image.shape[:2]
    return [f"{width} \u00d7 {height} px", f"{columns} \u00d7 {rows} patches"]


def wrapped(text: str, width: float = PANEL) -> list[str]:
    """Wraps a text to lines of a width in inches."""
    return textwrap.wrap(text, int(width / CHARACTER_WIDTH))


def draw_attention_grid(
    images: Sequence[np.ndarray],
    networks: Mapping[str, Sequence[Tensor]],
    fraction: float,
    heads: Sequence[int] = (),
    mode: str = "nearest",
) -> Figure:
    """Draws several images, one per row, with the attention of one or more networks.

    Args:
        images: Images (H, W, 3) uint8, RGB, of any sizes.
        networks: By name, such as ``"trained"``, the attention (heads, h, w) for each image.
        fraction: Fraction of the attention that a mask holds.
        heads: Heads to show, from 0, beside the mean over all heads and its mask.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Returns:
        The figure, for :func:`write_figure`.

    Raises:
        ValueError: If there is no image, or no such head.
    """
    if not images:
        raise ValueError("There is no image to draw. Pass at least one.")
    heights = [panel_height(image) for image in images]
    group = (2 + len(heads)) * (PANEL + GAP) + 2 * GAP
    left = MARGIN + PANEL + 3 * GAP
    top = MARGIN + TITLE + (GROUP_TITLE if len(networks) > 1 else 0)
    footer_top = top + sum(heights) + GAP * len(heights)
    width = left + len(networks) * group - 3 * GAP + MARGIN
    footer = wrapped(
        "Colours from 0 (dark) to the peak of the map (bright); outlined: the fewest patches that "
        f"hold {100 * fraction:g} % of the attention.",
        width - 2 * MARGIN,
    )
    sheet = Sheet(width, footer_top + LINE * len(footer) + MARGIN)
    with matplotlib.rc_context(STYLE):
        y = top
        for row, (image, height) in enumerate(zip(images, heights, strict=True)):
            sheet.show(MARGIN, y, height, to_canvas(image), "" if row else "image")
            for number, maps in enumerate(networks.values()):
                names, shown = with_mean(maps[row], heads)
                first, *others = draw_panels(image, shown, fraction, mode)
                pictures = [first["overlay"], first["mask"], *(each["overlay"] for each in others)]
                titles = [names[0], f"its {100 * fraction:g} % mask", *names[1:]]
                for column, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
                    x = left + number * group + column * (PANEL + GAP)
                    sheet.show(x, y, height, picture, "" if row else title)
            y += height + GAP
        if len(networks) > 1:
            for number, network in enumerate(networks):
                x = left + number * group
                sheet.write(x, MARGIN, network, va="top", weight="bold", size=9)
        sheet.write(MARGIN, footer_top, "\n".join(footer), va="top", linespacing=1.35)
    return sheet.figure


def attention_frames(
    frames: Iterable[np.ndarray], maps: Tensor, fraction: float, mode: str = "nearest"
) -> Iterator[np.ndarray]:
    """Draws the frames of an animation: each image beside its overlay.

    To avoid flicker, all frames share one colour scale, up to the 90th percentile of their peaks.

    Args:
        frames: T images (H, W, 3) uint8, RGB.
        maps: Attention (T, h, w), one map per frame.
        fraction: Fraction of the attention that the outlined mask holds.
        mode: Interpolation of the patches: ``"nearest"`` or ``"bilinear"``.

    Yields:
        Frames (h', 2 w', 3) uint8, RGB.
    """
    peak = maps.amax((-2, -1)).quantile(0.9)
    for frame, attention in zip(frames, maps, strict=True):
        canvas = to_canvas(frame)
        shape = canvas.shape[:2]
        heat = resize_maps((attention / peak).clamp(max=1)[None], shape, mode)[0].numpy()
        mask = resize_maps(attention_mask(attention, fraction)[None], shape)[0].numpy()
        yield np.concatenate([canvas, overlay(canvas, heat, mask)], axis=1)


def panel_height(image: np.ndarray) -> float:
    """Returns the height in inches of an image's panel of width ``PANEL``."""
    height, width = image.shape[:2]
    return min(PANEL * height / width, MAX_PANEL_HEIGHT)


class Sheet:
    """A figure with positions in inches from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=DPI)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Adds axes without ticks or frame."""
        corner = (x / self.width, 1 - (y + height) / self.height)
        axes = self.figure.add_axes((*corner, width / self.width, height / self.height))
        axes.axis("off")
        return axes

    def show(self, x: float, y: float, height: float, picture: np.ndarray, title: str = "") -> None:
        """Adds an image, centred in a cell of width ``PANEL``, with a title above."""
        axes = self.axes(x, y, PANEL, height)
        axes.imshow(picture, interpolation="antialiased")
        axes.set_title(title, size=8, weight="normal", pad=3)

    def color_bar(self, x: float, y: float) -> None:
        """Adds the legend of the colours, of height ``COLOR_BAR``."""
        bar = self.axes(x, y + 0.14, PANEL, 0.09)
        bar.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=COLORMAP)
        self.write(x, y + 0.26, "0", va="top")
        self.write(x + PANEL, y + 0.26, "peak of the map", ha="right", va="top")

    def write(self, x: float, y: float, text: str, **style: object) -> None:
        """Adds text."""
        style = {"size": 7.5, **style}
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)


def write_figure(figure: Figure, path: Path) -> None:
    """Writes a figure atomically.

    Raises:
        ValueError: If the suffix of the path is not in ``FIGURE_SUFFIXES``.
        OSError: If the file cannot be written.
    """
    check_figure_path(path)
    with matplotlib.rc_context(STYLE), atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=DPI)


def check_figure_path(path: Path) -> None:
    """Checks that a figure can be written to a path, before it is computed.

    Raises:
        ValueError: If the suffix of the path is not in ``FIGURE_SUFFIXES``.
    """
    if path.suffix not in FIGURE_SUFFIXES:
        raise ValueError(
            f"Cannot write the figure {path}: its suffix must be one of "
            f"{', '.join(FIGURE_SUFFIXES)}."
        )
