"""Tables, JSON files and plots of measurements."""

from __future__ import annotations

import itertools
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from common.timing import Timing
from mmdino.utils.atomic_write import atomic_write
from mmdino.visualization.comparison_figure import COLORS

OWN = ("ours", "mmdino")
"""Names of this project's line, which has one colour in every figure."""
FEWEST_IN_A_LINE = 3
"""Two points joined by a line would say something of what lies between them."""


def timing_rows(
    timings: Mapping[str, Timing], baseline: str, limit: str | None = None, images: int = 0
) -> list[dict[str, Any]]:
    """Returns the rows of a table of timings.

    Args:
        timings: What :func:`compare` returns.
        baseline: Case that times are divided by.
        limit: Case whose time is a lower bound on this hardware, if any.
        images: Images per call, for a column of images/s; 0 leaves it out.

    Returns:
        One row per case.
    """
    rows = []
    for name, timing in timings.items():
        row: dict[str, Any] = {
            "case": name,
            "median s": timing.median,
            "min s": timing.fastest,
            "max s": timing.slowest,
        }
        if images:
            row["images/s"] = images / timing.median
        row["x baseline"] = timing.ratio_to(timings[baseline])
        if limit is not None:
            row["x limit"] = timing.ratio_to(timings[limit])
        rows.append(row)
    return rows


def print_table(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Prints rows with equal keys as a Markdown table whose header is the keys."""
    if title:
        print(f"\n{title}\n")
    head = list(rows[0])
    cells = [head, *([_cell(row[name]) for name in head] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(head))]
    numbers = [not isinstance(rows[0][name], str) for name in head]
    for index, line in enumerate(cells):
        padded = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numbers, strict=True)
        ]
        print(f"| {' | '.join(padded)} |")
        if index == 0:
            rules = [
                "-" * (w - 1) + (":" if n else "-") for w, n in zip(widths, numbers, strict=True)
            ]
            print(f"| {' | '.join(rules)} |")
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)


def machine(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Describes the machine that the measurements come from."""
    device = torch.device(device)
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "accelerator": accelerator,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write_json(
    path: str | Path,
    benchmark: str,
    settings: Mapping[str, Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    argv: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Writes results with their settings and machine; the file is written atomically.

    Args:
        path: Path of the file.
        benchmark: Name of the benchmark.
        settings: Settings of the measurement: sizes, types, rounds.
        tables: Rows as of :func:`print_table`, by the name of their table.
        argv: Command-line arguments; by default those of the process.
        device: Device of the cases.
    """
    arguments = sys.argv[1:] if argv is None else argv
    content = {
        "benchmark": benchmark,
        "command": shlex.join(["python", f"tools/benchmarks/{benchmark}.py", *arguments]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(device),
        "settings": dict(settings),
        "tables": {name: [dict(row) for row in rows] for name, rows in tables.items()},
    }
    with atomic_write(Path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def draw_lines(
    path: str | Path,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    title: str = "",
    limits: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> None:
    """Draws one line per case through its points (x, y); the file is written atomically.

    Two points alone are not joined.

    Args:
        path: Path of the image file.
        series: Points by case.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        title: Title of the plot.
        limits: Points of bounds on the cases, drawn dashed; a single point as a horizontal line.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label, title=title)
    own, *others = COLORS
    colors = itertools.cycle(others)
    for name, points in series.items():
        style = {"color": own if name in OWN else next(colors), "label": name}
        line = "-" if len(points) >= FEWEST_IN_A_LINE else ""
        axes.plot(*zip(*points, strict=True), marker="o", linestyle=line, **style)
    for name, points in (limits or {}).items():
        style = {"linestyle": "--", "color": next(colors), "label": name}
        if len(points) == 1:
            axes.axhline(points[0][1], **style)
        else:
            axes.plot(*zip(*points, strict=True), **style)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    # The x axis has counts, of workers or of images.
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    # Outside of the axes, where it covers no line.
    figure.legend(loc="outside lower center", ncols=2)
    _save(figure, path)


def draw_bars(path: str | Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Draws rows of :func:`timing_rows`: bars of medians, error bars from fastest to slowest."""
    figure = Figure(figsize=(7, 1 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", title=title)
    medians = [row["median s"] for row in rows]
    below = [row["median s"] - row["min s"] for row in rows]
    above = [row["max s"] - row["median s"] for row in rows]
    axes.barh([row["case"] for row in rows], medians, xerr=(below, above), capsize=3)
    axes.invert_yaxis()
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_write(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120)
