"""Loss and accuracy of classifiers around their weights: lines, contours and surfaces."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mmdino.diagnostics.landscape_run import Surface
from mmdino.visualization.training_figure import BLUE, STYLE, VERMILION

KINDS = (("loss", BLUE, "viridis"), ("accuracy (%)", VERMILION, "cividis"))
LEVELS = 15

# Inches.
PANEL_WIDTH, PANEL_HEIGHT = 2.6, 2.0
SQUARE = 2.5
CHARACTERS_PER_INCH = 15  # of notes


def draw_lines(surfaces: Mapping[str, Surface], notes: Sequence[str] = ()) -> Figure:
    """Draws loss and accuracy along single directions; networks are columns, on equal axes.

    Thin lines are the directions, the thick one their mean.

    Args:
        surfaces: By the name of the network.
        notes: Lines at the foot.

    Returns:
        The figure, for :func:`write_figure`.
    """
    with matplotlib.rc_context(STYLE):
        size = (PANEL_WIDTH * len(surfaces) + 0.4, 2 * PANEL_HEIGHT + 0.4 + 0.15 * len(notes))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(2, len(surfaces), sharex=True, sharey="row", squeeze=False)
        for row, values in zip(axes, KINDS, strict=True):
            row[0].set_ylabel(values[0])
        for column, (name, surface) in zip(axes.T, surfaces.items(), strict=True):
            column[0].set_title(name)
            column[1].set_xlabel("step along a direction")
            for ax, lines, (_, color, _) in zip(column, surface.lines, KINDS, strict=True):
                ax.plot(surface.steps, lines.T, color=color, linewidth=0.7, alpha=0.5)
                ax.plot(surface.steps, lines.mean(0), color=color, linewidth=2)
        _write_notes(figure, notes)
    return figure


def draw_contours(surfaces: Mapping[str, Surface], notes: Sequence[str] = ()) -> Figure:
    """Draws the contours of loss and accuracy in the plane; all networks have the same levels.

    Args:
        surfaces: By the name of the network, with planes.
        notes: Lines at the foot.

    Returns:
        The figure, for :func:`write_figure`.
    """
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (SQUARE * len(surfaces) + 1.0, 2 * SQUARE + 0.3 + 0.15 * len(notes))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(2, len(surfaces), sharex=True, sharey=True, squeeze=False)
        for index, (row, (label, _, colormap)) in enumerate(zip(axes, KINDS, strict=True)):
            planes = [surface.plane[index] for surface in surfaces.values()]
            low, high = _range(planes)
            levels = np.linspace(low, high, LEVELS)
            for ax, surface, plane in zip(row, surfaces.values(), planes, strict=True):
                _draw_contour(ax, surface.steps, plane, levels, colormap)
                ax.set_aspect("equal")
            row[0].set_ylabel("second direction")
            scale = ScalarMappable(Normalize(low, high), colormap)
            figure.colorbar(scale, ax=list(row), label=label, shrink=0.85)
        for ax, name in zip(axes[0], surfaces, strict=True):
            ax.set_title(name)
        for ax in axes[1]:
            ax.set_xlabel("first direction")
        _write_notes(figure, notes)
    return figure


def _draw_contour(
    ax: Axes, steps: np.ndarray, plane: np.ndarray, levels: np.ndarray, colormap: str
) -> None:
    # The first axis of a plane is the first direction, which is drawn to the right.
    ax.contourf(steps, steps, plane.T, levels, cmap=colormap, extend="both")
    ax.contour(steps, steps, plane.T, levels, colors="white", linewidths=0.4)
    ax.plot(0, 0, "+", color="white", markersize=7)


def draw_surfaces(surfaces: Mapping[str, Surface], notes: Sequence[str] = ()) -> Figure:
    """Draws the loss over the plane in three dimensions, on equal axes.

    Args:
        surfaces: By the name of the network, with planes.
        notes: Lines at the foot.

    Returns:
        The figure, for :func:`write_figure`.
    """
    low, high = _range([surface.plane[0] for surface in surfaces.values()])
    with matplotlib.rc_context(STYLE):
        size = (3.4 * len(surfaces) + 0.3, 3.2 + 0.15 * len(notes))
        figure = Figure(figsize=size, layout="constrained")
        for index, (name, surface) in enumerate(surfaces.items(), 1):
            ax = figure.add_subplot(1, len(surfaces), index, projection="3d")
            first, second = np.meshgrid(surface.steps, surface.steps, indexing="ij")
            ax.plot_surface(
                first, second, surface.plane[0], cmap="viridis", vmin=low, vmax=high, linewidth=0
            )
            ax.set_zlim(low, high)
            ax.set(xlabel="first direction", ylabel="second direction", zlabel="loss", title=name)
            ax.set_box_aspect(None, zoom=0.8)
        _write_notes(figure, notes)
    return figure


def _write_notes(figure: Figure, notes: Sequence[str]) -> None:
    width = int(figure.get_figwidth() * CHARACTERS_PER_INCH)
    lines = [line for note in notes for line in textwrap.wrap(note, width)]
    figure.supxlabel("\n".join(lines), fontsize=7)


def _range(planes: Sequence[np.ndarray]) -> tuple[float, float]:
    finite = np.concatenate([plane[np.isfinite(plane)] for plane in planes])
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    # Contours need levels that rise.
    return float(low), float(max(high, low + 1e-9))
