"""Charts as SVG within the page, with their values for the script that shows them."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from mmdino.report.curves import Chart, Series
from mmdino.visualization.training_figure import ROUND_STEPS

WIDTH, HEIGHT = 440, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 24
"""Size of a chart and of its margins, in units of the drawing."""
DIGITS = 4
"""Significant digits of a value that the script shows."""


class Scale:
    """Maps iterations and values to the drawing.

    Args:
        last: Last iteration of the axis.
        low: Value at the foot of the axis.
        high: Value at its top.
    """

    def __init__(self, last: float, low: float, high: float) -> None:
        self.last = max(last, 1)
        self.low, self.high = low, high

    def x(self, iteration: float | np.ndarray) -> float | np.ndarray:
        """Returns the position of an iteration."""
        return LEFT + iteration / self.last * (WIDTH - LEFT - RIGHT)

    def y(self, value: float | np.ndarray) -> float | np.ndarray:
        """Returns the position of a value."""
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def draw_chart(chart: Chart, last: int, unit: tuple[str, int]) -> str:
    """Draws a chart.

    Args:
        chart: The chart.
        last: Last iteration of the run so far.
        unit: Name of the unit of the x axis, and its iterations.

    Returns:
        A ``figure`` of HTML.
    """
    scale = Scale(last, *_range(chart))
    name, per_unit = unit
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_summary(chart))}">'
    ]
    for tick in _ticks(scale.low, scale.high, 5):
        y = scale.y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in _ticks(0, scale.last / per_unit, 6, whole=True):
        parts.append(
            f'<text class="tick" x="{scale.x(tick * per_unit):.1f}" y="{HEIGHT - 8}" '
            f'text-anchor="middle">{tick:,.0f}</text>'
        )
    for value, _ in chart.bounds:
        y = scale.y(value)
        parts.append(
            f'<line class="bound" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    parts += [_curve(series, scale) for series in chart.series]
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg>')
    legend = [
        f'<li><i class="c{series.color}"></i>{escape(series.label)}</li>'
        for series in chart.series
        if series.kind != "faint"
    ]
    legend += [f'<li><i class="dashed"></i>{escape(label)}</li>' for _, label in chart.bounds]
    of_unit = f" ({escape(chart.unit)})" if chart.unit else ""
    return (
        f'<figure class="chart"><figcaption><h3>{escape(chart.title)}{of_unit}</h3>'
        f'<ul class="legend">{"".join(legend)}</ul></figcaption>'
        f'<div class="plot">{"".join(parts)}<div class="tip" hidden></div>'
        f'<script type="application/json">{_data(chart, scale, name, per_unit)}</script></div>'
        f'<p class="axis">{escape(name)}</p><p class="note">{escape(chart.says)}</p></figure>'
    )


def _range(chart: Chart) -> tuple[float, float]:
    """Returns the ends of the axis of values."""
    shown = np.concatenate(
        [series.value for series in chart.series] + [[value for value, _ in chart.bounds]]
    )
    shown = shown[np.isfinite(shown)]
    low, high = shown.min(), shown.max()
    if chart.from_zero:
        low = min(low, 0.0)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return float(low if chart.from_zero and low == 0 else low - margin), float(high + margin)


def _ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    ticks = MaxNLocator(count, steps=ROUND_STEPS, integer=whole).tick_values(low, high)
    return [float(tick) for tick in ticks if low <= tick <= high]


def _curve(series: Series, scale: Scale) -> str:
    """Draws a curve, broken where a value is not finite."""
    points = zip(scale.x(series.iteration), scale.y(series.value), strict=True)
    path, marks, begins = [], [], True
    for x, y in points:
        if not np.isfinite(y):
            begins = True
            continue
        path.append(f"{'M' if begins else 'L'}{x:.1f} {y:.1f}")
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
        begins = False
    shown = "".join(marks) if series.kind == "points" else ""
    faint = " faint" if series.kind == "faint" else ""
    return f'<g class="curve c{series.color}{faint}"><path d="{"".join(path)}"/>{shown}</g>'


def _data(chart: Chart, scale: Scale, name: str, per_unit: int) -> str:
    """Returns the values for the script, as JSON that no markup ends."""
    series = [
        {
            "label": each.label,
            "color": each.color,
            "x": [int(done) for done in each.iteration],
            "y": [
                float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in each.value
            ],
        }
        for each in chart.series
    ]
    content: dict[str, Any] = {
        "name": name,
        "per": per_unit,
        "unit": chart.unit,
        "last": scale.last,
        "left": LEFT / WIDTH,
        "right": 1 - RIGHT / WIDTH,
        "width": WIDTH,
        "series": series,
    }
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def _summary(chart: Chart) -> str:
    """Says the last value of each curve, for those who hear the page."""
    ends = []
    for series in chart.series:
        finite = series.value[np.isfinite(series.value)]
        if series.kind != "faint" and finite.size:
            ends.append(f"{series.label} {finite[0]:.4g} to {finite[-1]:.4g}")
    return f"{chart.title}: {', '.join(ends)}"
