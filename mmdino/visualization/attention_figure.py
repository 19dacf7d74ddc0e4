"""Attention maps as pictures: overlays, cut-outs, and figures of one or several photographs.

matplotlib's object-oriented interface only: nothing here touches pyplot's global state.
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
from mmdino.visualization.training_figure import STYLE

FIGURE_SUFFIXES = (".jpg", ".pdf", ".png", ".svg")

COLORMAP = "inferno"
OUTLINE = (86, 180, 233)  # Okabe and Ito's sky blue: not in the colour map, rare in photographs.
COLOR_WEIGHT = 0.65  # of the colours in an overlay; the rest is the image
OUTSIDE = 0.25  # brightness of what a mask leaves out
OUTLINE_WIDTH = 1 / 220  # of the mean side

# Pixels of the shorter side: small images are enlarged so that an outline is thin beside a patch.
LEAST_CANVAS, LARGEST_CANVAS = 240, 480
LONGEST_CANVAS = 2000  # pixels of the longer side, whatever the shorter one has

# Inches.
PANEL = 1.5
TALLEST_PANEL = 2.2
LEAST_CELL = 0.65  # so that the label beside a row fits
GAP = 0.06
TITLE = 0.2  # a line
GROUP_TITLE = 0.24
COLOR_BAR = 0.5
LINE = 0.15
CHARACTER = 0.06  # width of one, on average and not too little
ROW_LABEL = 0.26
MARGIN = 0.12
MOST_PANELS_A_ROW = 7
DPI = 150


def canvas_of(image: np.ndarray) -> np.ndarray:
    """Scales an image (H, W, 3) so that it can be drawn on; its aspect stays."""
    shorter, longer = sorted(image.shape[:2])
    times = min(-(-LEAST_CANVAS // shorter), LONGEST_CANVAS // longer)
    if times > 1:
        return image.repeat(times, axis=0).repeat(times, axis=1)
    scale = min(LARGEST_CANVAS / shorter, LONGEST_CANVAS / longer)
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def colored(heat: np.ndarray) -> np.ndarray:
    """Maps values (H, W) from 0 to 1 to colours (H, W, 3) uint8."""
    return (255 * matplotlib.colormaps[COLORMAP](heat)[..., :3]).round().astype(np.uint8)


def outlined(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draws the outline of a mask (H, W) on a copy of a picture (H, W, 3)."""
    picture = np.ascontiguousarray(picture).copy()
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    width = max(1, round(OUTLINE_WIDTH * sum(mask.shape) / 2))
    return cv2.drawContours(picture, outlines, -1, OUTLINE, width)


def overlay(image: np.ndarray, heat: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Lays the colours of an attention map over an image.

    Args:
        image: (H, W, 3) uint8, RGB. Its colours go, so that they are not taken for attention.
        heat: Attention (H, W) from 0 to 1.
        mask: Mask (H, W) to be outlined, bool.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    mixed = COLOR_WEIGHT * colored(heat) + (1 - COLOR_WEIGHT) * grey
    picture = mixed.round().astype(np.uint8)
    return picture if mask is None else outlined(picture, mask)


def cut_out(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Darkens what a mask (H, W) leaves out of an image (H, W, 3)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.where(mask[..., None], image, (OUTSIDE * grey).astype(np.uint8))


def panels_of(
    image: np.ndarray, maps: Tensor, share: float, mode: str = "nearest"
) -> list[dict[str, np.ndarray]]:
    """Draws attention maps in three ways.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps: Attention (K, h, w).
        share: Share of the mass that a mask holds.
        mode: How patches are enlarged: ``"nearest"`` or ``"bilinear"``.

    Returns:
        Of each map ``attention``, ``overlay`` and ``mask``, pictures (h', w', 3) uint8 of the size
        of :func:`canvas_of`. Colours go from 0 to the map's own peak.
    """
    canvas = canvas_of(image)
    shape = canvas.shape[:2]
    peaks = maps.amax((-2, -1), keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    heats = resize_maps(maps / peaks, shape, mode).numpy()
    masks = resize_maps(attention_mask(maps, share), shape).numpy()
    return [
        {
            "attention": colored(heat),
            "overlay": overlay(canvas, heat, mask),
            "mask": cut_out(canvas, mask),
        }
        for heat, mask in zip(heats, masks, strict=True)
    ]


def with_mean(maps: Tensor, heads: Sequence[int]) -> tuple[list[str], Tensor]:
    """Puts the mean of all heads before the chosen ones.

    Args:
        maps: Attention (heads, h, w).
        heads: Which heads, from 0.

    Returns:
        Names and maps (1 + chosen, h, w).

    Raises:
        ValueError: If there is no such head.
    """
    check_heads(heads, len(maps))
    names = [f"mean of {len(maps)} heads", *(f"head {head}" for head in heads)]
    return names, torch.cat([maps.mean(0, keepdim=True), maps[list(heads)]])


def check_heads(heads: Sequence[int], num_heads: int) -> None:
    """Checks that heads exist.

    Raises:
        ValueError: If one does not.
    """
    wrong = [head for head in heads if not 0 <= head < num_heads]
    if wrong:
        raise ValueError(
            f"There is no head {', '.join(map(str, wrong))}: the network has {num_heads} heads, "
            f"0 to {num_heads - 1}."
        )


def peak_text(attention: Tensor) -> str:
    """Says how much the largest value of a map (h, w) is above that of even attention."""
    return f"peak {(attention.max() / attention.mean()).item():.1f} \u00d7 even"


def draw_attention_figure(
    image: np.ndarray,
    maps: Tensor,
    share: float,
    heads: Sequence[int] | None = None,
    notes: Sequence[str] = (),
    mode: str = "nearest",
) -> Figure:
    """Draws one image: its attention, the overlay and the mask, of the mean and of each head.

    Args:
        image: (H, W, 3) uint8, RGB.
        maps: Attention (heads, h, w).
        share: Share of the mass that a mask holds.
        heads: Heads to show, from 0; None for all.
        notes: Lines that stand below the image.
        mode: How patches are enlarged: ``"nearest"`` or ``"bilinear"``.

    Returns:
        The figure; :func:`write_figure` writes it.

    Raises:
        ValueError: If there is no such head.
    """
    names, shown = with_mean(maps, range(len(maps)) if heads is None else heads)
    kinds = {"attention": "attention", "overlay": "overlay", "mask": f"{100 * share:g} % mask"}
    panels = panels_of(image, shown, share, mode)
    height = max(panel_height(image), LEAST_CELL)
    across = min(len(panels), MOST_PANELS_A_ROW)
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
        sheet.show(MARGIN, MARGIN + top, height, canvas_of(image), "image")
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
    """Says how large an image and its map (..., h, w) are."""
    rows, columns = maps.shape[-2:]
    height, width = image.shape[:2]
    return [f"{width} \u00d7 {height} px", f"{columns} \u00d7 {rows} patches"]


def wrapped(text: str, width: float = PANEL) -> list[str]:
    """Breaks a text into lines of a width in inches."""
    return textwrap.wrap(text, int(width / CHARACTER))


def draw_attention_grid(
    images: Sequence[np.ndarray],
    networks: Mapping[str, Sequence[Tensor]],
    share: float,
    heads: Sequence[int] = (),
    mode: str = "nearest",
) -> Figure:
    """Draws several images, one a row, with the attention of one or more networks beside them.

    Args:
        images: Images (H, W, 3) uint8, RGB, of any sizes.
        networks: By name, such as ``"trained"`` and ``"untrained"``, the attention
            (heads, h, w) for each image.
        share: Share of the mass that a mask holds.
        heads: Heads to show, from 0, beside the mean of all and its mask.
        mode: How patches are enlarged: ``"nearest"`` or ``"bilinear"``.

    Returns:
        The figure; :func:`write_figure` writes it.

    Raises:
        ValueError: If there is no image, or no such head.
    """
    if not images:
        raise ValueError("There is no image to draw. Name at least one.")
    heights = [panel_height(image) for image in images]
    group = (2 + len(heads)) * (PANEL + GAP) + 2 * GAP
    left = MARGIN + PANEL + 3 * GAP
    top = MARGIN + TITLE + (GROUP_TITLE if len(networks) > 1 else 0)
    footer_top = top + sum(heights) + GAP * len(heights)
    width = left + len(networks) * group - 3 * GAP + MARGIN
    footer = wrapped(
        "Colours from 0 (dark) to the peak of the map (bright); outlined: the fewest patches that "
        f"hold {100 * share:g} % of the attention.",
        width - 2 * MARGIN,
    )
    sheet = Sheet(width, footer_top + LINE * len(footer) + MARGIN)
    with matplotlib.rc_context(STYLE):
        y = top
        for row, (image, height) in enumerate(zip(images, heights, strict=True)):
            sheet.show(MARGIN, y, height, canvas_of(image), "" if row else "image")
            for number, maps in enumerate(networks.values()):
                names, shown = with_mean(maps[row], heads)
                first, *others = panels_of(image, shown, share, mode)
                pictures = [first["overlay"], first["mask"], *(each["overlay"] for each in others)]
                titles = [names[0], f"its {100 * share:g} % mask", *names[1:]]
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
    frames: Iterable[np.ndarray], maps: Tensor, share: float, mode: str = "nearest"
) -> Iterator[np.ndarray]:
    """Draws the frames of an animation: each image beside its overlay.

    Colours have one scale for all frames, else they would flicker: up to the peak that nine of ten
    frames stay below.

    Args:
        frames: T images (H, W, 3) uint8, RGB.
        maps: One map of attention (T, h, w) a frame.
        share: Share of the mass that the outlined mask holds.
        mode: How patches are enlarged: ``"nearest"`` or ``"bilinear"``.

    Yields:
        Frames (h', 2 w', 3) uint8, RGB.
    """
    peak = maps.amax((-2, -1)).quantile(0.9)
    for frame, attention in zip(frames, maps, strict=True):
        canvas = canvas_of(frame)
        shape = canvas.shape[:2]
        heat = resize_maps((attention / peak).clamp(max=1)[None], shape, mode)[0].numpy()
        mask = resize_maps(attention_mask(attention, share)[None], shape)[0].numpy()
        yield np.concatenate([canvas, overlay(canvas, heat, mask)], axis=1)


def panel_height(image: np.ndarray) -> float:
    """Height of an image's panels of the width ``PANEL``, in inches."""
    height, width = image.shape[:2]
    return min(PANEL * height / width, TALLEST_PANEL)


class Sheet:
    """A figure on which things have their place in inches from the upper left corner."""

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
        """Shows a picture in the middle of a cell of the width ``PANEL``, its title above it."""
        axes = self.axes(x, y, PANEL, height)
        axes.imshow(picture, interpolation="antialiased")
        axes.set_title(title, size=8, weight="normal", pad=3)

    def color_bar(self, x: float, y: float) -> None:
        """Explains the colours, in a strip of the height ``COLOR_BAR``."""
        bar = self.axes(x, y + 0.14, PANEL, 0.09)
        bar.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=COLORMAP)
        self.write(x, y + 0.26, "0", va="top")
        self.write(x + PANEL, y + 0.26, "peak of the map", ha="right", va="top")

    def write(self, x: float, y: float, text: str, **style: object) -> None:
        """Writes text."""
        style = {"size": 7.5, **style}
        self.figure.text(x / self.width, 1 - y / self.height, text, **style)


def write_figure(figure: Figure, path: Path) -> None:
    """Writes a figure, under another name until it is whole.

    Args:
        figure: The figure.
        path: Path with a suffix of ``FIGURE_SUFFIXES``.

    Raises:
        ValueError: If the suffix is another.
        OSError: If it cannot be written.
    """
    if path.suffix not in FIGURE_SUFFIXES:
        raise ValueError(
            f"{path} is to be a figure, so its suffix must be one of {', '.join(FIGURE_SUFFIXES)}."
        )
    with matplotlib.rc_context(STYLE), atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=DPI)
