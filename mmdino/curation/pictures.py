"""Pictures of images side by side, with what was decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import get_data_path
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable
from mmdino.visualization.media import is_image_there, read_image

KEPT, DROPPED, NEUTRAL = "#1a7f37", "#cf222e", "#57606a"
SIDE, GAP, FRAME, TEXT = 128, 12, 4, 12
MARGIN = 24
FONT = Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
"""That of the other figures. Pillow's own knows no Greek or Cyrillic and swallows some spaces."""
QUALITY = 90


@dataclass(frozen=True)
class Tile:
    """An image with a frame and a caption of one line; one that is not there is an empty frame."""

    path: Path
    caption: str = ""
    color: str = NEUTRAL


@dataclass(frozen=True)
class Strip:
    """Images that belong together, with a heading."""

    heading: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Section:
    """Strips under a title, side by side as far as there is room."""

    title: str
    strips: Sequence[Strip]
    color: str = NEUTRAL


def draw_strips(path: str | Path, title: str, sections: Sequence[Section], wide: int = 8) -> None:
    """Draws sections of strips to a JPEG.

    Args:
        path: The file.
        title: First line.
        sections: What to draw; one without strips says so.
        wide: Tiles beside each other.
    """
    width = 2 * MARGIN + wide * SIDE + (wide - 1) * GAP
    line, tall = TEXT + 7, SIDE + 2 * (TEXT + 7) + GAP
    rows = [(section, _rows(section.strips, wide)) for section in sections]
    height = 2 * MARGIN + 2 * line
    height += sum(2 * line + max(1, len(lines)) * tall for _, lines in rows)
    canvas = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(canvas)
    _text(pen, MARGIN, MARGIN, title, width - 2 * MARGIN, "black", TEXT + 5)
    y = MARGIN + 2 * line
    for section, lines in rows:
        pen.rectangle((MARGIN, y, width - MARGIN, y + 2), fill=section.color)
        _text(pen, MARGIN, y + 6, section.title, width - 2 * MARGIN, section.color, TEXT + 2)
        y += line + line // 2
        if not lines:
            _text(pen, MARGIN, y, "none", width, NEUTRAL)
        for strips in lines:
            x = MARGIN
            for strip in strips:
                span = len(strip.tiles) * (SIDE + GAP) - GAP
                _text(pen, x, y, strip.heading, span, "black")
                for tile in strip.tiles:
                    _draw_tile(canvas, pen, x, y + line, tile)
                    x += SIDE + GAP
            y += tall
        y += line // 2 if lines else tall
    with atomic_write(path) as partial:
        canvas.save(partial, quality=QUALITY)


def draw_histogram(
    path: str | Path, title: str, edges: np.ndarray, counts: np.ndarray, threshold: float
) -> None:
    """Draws the counts of similarities to the nearest image, and a threshold.

    Args:
        path: The file, a PNG.
        title: Title.
        edges: Edges of the bins (M + 1,).
        counts: Counts (M,).
        threshold: Where to draw the line.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=NEUTRAL)
    axes.axvline(threshold, color=DROPPED, label=f"threshold {threshold:.4g}")
    present = np.flatnonzero(counts)
    low = min(edges[present[0]] if len(present) else 0, threshold) - 0.02
    axes.set(xlim=(low, 1.01), yscale="log", title=title)
    axes.set(xlabel="cosine similarity to the nearest other image", ylabel="images")
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=120)


def draw_curves(
    path: str | Path,
    title: str,
    thresholds: Sequence[float],
    curves: dict[str, Sequence[float]],
    suggested: float | None,
) -> None:
    """Draws precision and recalls, in %, over the threshold, by its distance from 1."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    distance = 1 - np.asarray(thresholds)
    for position, (name, values) in enumerate(curves.items()):
        bold = position < 2
        style = {"linewidth": 2.5} if bold else {"linewidth": 1, "linestyle": "--"}
        axes.plot(distance, 100 * np.asarray(values, dtype=float), label=name, **style)
    if suggested is not None:
        label = f"suggested {suggested:.4f}"
        axes.axvline(1 - suggested, color="black", linewidth=1, label=label)
    axes.set_xscale("log")
    axes.invert_xaxis()
    axes.set_xticks([0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 1e-4])
    axes.xaxis.set_major_formatter(lambda value, _: f"{1 - value:.4g}")
    axes.minorticks_off()
    axes.set(xlabel="threshold of the cosine similarity", ylabel="%", ylim=(0, 103))
    axes.set_title(title, parse_math=False)  # The name of a checkpoint may have dollar signs.
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=120)


def _rows(strips: Sequence[Strip], wide: int) -> list[list[Strip]]:
    """Puts strips beside each other."""
    lines: list[list[Strip]] = []
    used = wide
    for strip in strips:
        strip = Strip(strip.heading, strip.tiles[:wide])
        if used + len(strip.tiles) > wide:
            lines.append([])
            used = 0
        lines[-1].append(strip)
        used += len(strip.tiles)
    return lines


def _draw_tile(canvas: Image.Image, pen: ImageDraw.ImageDraw, x: int, y: int, tile: Tile) -> None:
    pen.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), fill="#f6f8fa", outline=tile.color, width=3)
    if is_image_there(tile.path):
        try:
            image = _shrunk(tile.path)
            canvas.paste(image, (x + (SIDE - image.width) // 2, y + (SIDE - image.height) // 2))
        except ValueError:  # of a format that is no picture, such as eight channels
            _text(pen, x + 2 * FRAME, y + SIDE // 2 - TEXT, "no picture", SIDE, NEUTRAL)
    else:
        _text(pen, x + 2 * FRAME, y + SIDE // 2 - TEXT, "not there", SIDE, NEUTRAL)
    _text(pen, x, y + SIDE + 2, tile.caption, SIDE, tile.color)


def _shrunk(path: Path) -> Image.Image:
    image = Image.fromarray(read_image(path))
    scale = (SIDE - 2 * FRAME) / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    # Small images show their pixels.
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def _text(
    pen: ImageDraw.ImageDraw, x: int, y: int, text: str, width: int, color: str, size: int = TEXT
) -> None:
    """Writes a line, cut off in the middle to fit."""
    font = ImageFont.truetype(FONT, size)
    text = printable(text)
    if pen.textlength(text, font) > width:
        keep = len(text)
        while keep > 2 and pen.textlength(_cut(text, keep), font) > width:
            keep -= 1
        text = _cut(text, keep)
    pen.text((x, y), text, fill=color, font=font)


def _cut(text: str, keep: int) -> str:
    """Returns a text of ``keep`` characters with dots in its middle; its end says more."""
    head = keep // 3
    return f"{text[:head]}…{text[len(text) - (keep - head - 1) :]}"
