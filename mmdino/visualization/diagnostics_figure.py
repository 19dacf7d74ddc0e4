"""Figures of attention and of CKA of several networks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmdino.visualization.training_figure import BLUE, GRAY, STYLE, VERMILION

MAX_LAYERS_SHOWN = 12
"""Average maps in a row; of more layers, that many evenly spaced ones are shown."""
BRIGHTEST = 99
"""Percentile of an average map's entries that has the brightest colour."""
MAX_LAYERS_WRITTEN = 6
"""Layers up to which the numbers of CKA are written into its heat map."""

# Inches.
PANEL_WIDTH, PANEL_HEIGHT = 2.6, 1.7
MAP, MAP_TEXT = 1.25, 0.62
CKA_PANEL = 2.4


def draw_heads(numbers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draws distance, similarity, mutual information and the fractions against the layers.

    A dot is a head, a line the mean of a layer. Networks are columns, on equal axes.

    Args:
        numbers: By network, :meth:`AttentionStatistics.numbers`.

    Returns:
        The figure, for :func:`write_figure`.
    """
    rows = {
        "attention distance (px)": _draw_distance,
        "head similarity": lambda ax, values: _draw_dots(ax, values["similarity"]),
        "mutual information": lambda ax, values: _draw_dots(ax, values["mutual_information"]),
        "fraction of variance": _draw_fractions,
    }
    with matplotlib.rc_context(STYLE):
        size = (PANEL_WIDTH * len(numbers) + 0.5, PANEL_HEIGHT * len(rows) + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(rows), len(numbers), sharex="col", sharey="row", squeeze=False)
        for row, (label, draw) in zip(axes, rows.items(), strict=True):
            row[0].set_ylabel(label)
            for ax, values in zip(row, numbers.values(), strict=True):
                draw(ax, values)
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            # Distances of a network may be far from 0 and close to each other.
            if draw is not _draw_distance:
                row[0].set_ylim(bottom=0)
        for ax, name in zip(axes[0], numbers, strict=True):
            ax.set_title(name)
        for ax in axes[-1]:
            ax.set_xlabel("layer")
        axes[-1, 0].legend(loc="best", fontsize=7)
    return figure


def _draw_distance(ax: Axes, values: Mapping[str, Any]) -> None:
    _draw_dots(ax, values["distance"])
    ax.axhline(values["uniform_distance"], color=GRAY, linewidth=0.9, linestyle=(0, (4, 2)))
    ax.annotate(
        "even attention",
        (1, values["uniform_distance"]),
        xycoords=("axes fraction", "data"),
        xytext=(0, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        color=GRAY,
        fontsize=7,
    )


def _draw_dots(ax: Axes, values: Sequence[Sequence[float | None]]) -> None:
    heads = np.array(values, dtype=float)
    layers = np.arange(1, len(heads) + 1)
    ax.plot(layers, heads.mean(1), color=VERMILION, zorder=2)
    ax.plot(layers, heads, "o", color=BLUE, markersize=3.5, alpha=0.7, markeredgewidth=0, zorder=3)


def _draw_fractions(ax: Axes, values: Mapping[str, Any]) -> None:
    kinds = (("relative", "relative offset", BLUE), ("column", "key alone (columns)", VERMILION))
    for kind, label, color in kinds:
        fractions = np.array(values[f"{kind}_fraction"], dtype=float)
        layers = np.arange(1, len(fractions) + 1)
        ax.plot(layers, fractions, "o-", color=color, label=label)
        ax.axhline(
            values[f"{kind}_chance"],
            color=color,
            linewidth=0.9,
            linestyle=(0, (1.2, 1.5)),
            label=f"{'chance level' if kind == 'relative' else '_'}",
        )


def draw_average_maps(
    maps: Mapping[str, np.ndarray], numbers: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """Draws the average map of each layer with its two fractions; networks are rows.

    Args:
        maps: By network, maps (layers, P, P); rows are queries.
        numbers: By network, :meth:`AttentionStatistics.numbers`.

    Returns:
        The figure, for :func:`write_figure`.
    """
    shown = {name: _evenly(len(of_network)) for name, of_network in maps.items()}
    across = max(map(len, shown.values()))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (MAP * across + 0.4, (MAP + MAP_TEXT) * len(maps) + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(maps), across, squeeze=False)
        for row, (name, of_network) in zip(axes, maps.items(), strict=True):
            for ax in row:
                ax.set_axis_off()
            for ax, layer in zip(row, shown[name], strict=False):
                _draw_map(ax, of_network[layer], layer, numbers[name])
            row[0].set_axis_on()
            row[0].set(xticks=[], yticks=[], ylabel=name)
        chances = next(iter(numbers.values()))
        figure.supxlabel(
            "rows are queries, columns are keys; offset and key: fractions of the variance that "
            f"the relative offset and the key explain (noise: {chances['relative_chance']:.2f} "
            f"and {chances['column_chance']:.2f})"
            if across >= 5
            else "rows: queries, columns: keys; fractions of\nvariance by relative offset and key",
            fontsize=7,
        )
    return figure


def _draw_map(ax: Axes, values: np.ndarray, layer: int, numbers: Mapping[str, Any]) -> None:
    ax.imshow(values, vmin=0, vmax=np.percentile(values, BRIGHTEST), interpolation="nearest")
    fractions = (numbers["relative_fraction"][layer], numbers["column_fraction"][layer])
    offset, key = ("-" if fraction is None else f"{fraction:.2f}" for fraction in fractions)
    ax.set_title(f"layer {layer + 1}\noffset {offset}\nkey {key}", fontsize=7, fontweight="normal")


def _evenly(layers: int) -> list[int]:
    shown = min(layers, MAX_LAYERS_SHOWN)
    return [round(index) for index in np.linspace(0, layers - 1, shown)]


def draw_cka(pairs: Mapping[tuple[str, str], np.ndarray]) -> Figure:
    """Draws CKA between the layers of networks as heat maps, one for each pair.

    Args:
        pairs: By the names of the two networks, CKA (L, M).

    Returns:
        The figure, for :func:`write_figure`.
    """
    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (CKA_PANEL * across + 0.9, (CKA_PANEL + 0.2) * down)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).flatten()
        for ax in axes[len(pairs) :]:
            ax.set_axis_off()
        for ax, ((first, second), values) in zip(axes, pairs.items(), strict=False):
            extent = (0.5, values.shape[1] + 0.5, 0.5, len(values) + 0.5)
            image = ax.imshow(values, vmin=0, vmax=1, origin="lower", extent=extent, cmap="magma")
            ax.set(xlabel=f"layer of {second}", ylabel=f"layer of {first}")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(MaxNLocator(integer=True))
            if max(values.shape) <= MAX_LAYERS_WRITTEN:
                _write_values(ax, values)
        figure.colorbar(image, ax=list(axes), label="CKA", shrink=0.8)
    return figure


def _write_values(ax: Axes, values: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values):
        color = "black" if value > 0.6 else "white"
        text = f"{value:.2f}"
        ax.text(column + 1, row + 1, text, ha="center", va="center", fontsize=7, color=color)
