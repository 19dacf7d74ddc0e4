"""Several runs in one figure: k-NN accuracy against images seen and processor time.

A second figure shows logged values, such as the teacher's entropy, against epochs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import ArrayLike

from mmdino.utils.atomic_write import atomic_write
from mmdino.visualization.training_figure import (
    GRAY,
    MAX_VALIDATION_MARKERS,
    ROUND_STEPS,
    STYLE,
    running_mean,
    smoothing_window,
    thin_out,
)

# Okabe and Ito's colours without the yellow, which is too light for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
"""Styles of the lines: each after all colours are used up."""
ENTROPY = "teacher_entropy"
TIME_UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))

# Inches.
PANEL_WIDTH, PANEL_HEIGHT = 3.6, 3.2
LEGEND_WIDTH, CHARACTER_WIDTH = 0.6, 0.07
MAX_COLUMNS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedRun:
    """The curves of a run. Sequences are converted to float64 arrays.

    Attributes:
        name: Name of the method, which its runs with other seeds share.
        seed: Seed.
        images: (P,) Images seen at each validation, 0 for the untrained network.
        processor_s: (P,) Processor time at each, in seconds.
        top1: (P,) k-NN accuracy in percent.
        logged: By name, logged values (N, 2): the epoch, not whole, and the value.
        entropy_bound: Largest entropy ln K of K prototypes, in nats; None for methods without.

    Raises:
        ValueError: If the three are of different lengths.
    """

    name: str
    seed: int = 0
    images: ArrayLike = ()
    processor_s: ArrayLike = ()
    top1: ArrayLike = ()
    logged: Mapping[str, ArrayLike] = field(default_factory=dict)
    entropy_bound: float | None = None

    def __post_init__(self) -> None:
        for name in ("images", "processor_s", "top1"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        lengths = {len(self.images), len(self.processor_s), len(self.top1)}
        if len(lengths) > 1:
            raise ValueError(
                f"ComparedRun got {len(self.images)} numbers of images, {len(self.processor_s)} "
                f"times and {len(self.top1)} accuracies: expected as many of each."
            )


def draw_comparison(runs: Sequence[ComparedRun]) -> Figure:
    """Draws the k-NN accuracy of runs against images seen, and against processor time.

    Each name has a colour and a style of line. With several seeds, a line is their mean, and thin
    ones are the seeds.

    Args:
        runs: The runs; those without a validation are left out.

    Returns:
        The figure, for :func:`write_figure`.

    Raises:
        ValueError: If no run has a validation.
    """
    shown = [run for run in runs if run.top1.size]
    if not shown:
        raise ValueError("There is nothing to draw: no run has been validated.")
    last = max(run.processor_s.max() for run in shown)
    seconds, unit = next(((s, name) for s, name in TIME_UNITS if last >= 2 * s), TIME_UNITS[-1])
    with matplotlib.rc_context(STYLE):
        styles = _styles(runs)
        labels = {name: f"{name}  {_final(of_name)}" for name, of_name in _by_name(shown).items()}
        figure, axes = _panels(2, labels.values())
        for name, of_name in _by_name(shown).items():
            by_images = [(run.images, run.top1) for run in of_name]
            by_time = [(run.processor_s / seconds, run.top1) for run in of_name]
            _draw_seeds(axes[0], by_images, **styles[name])
            _draw_seeds(axes[1], by_time, **styles[name])
        axes[0].set(xlabel="images seen", ylabel="k-NN top-1 (%)")
        axes[0].xaxis.set_major_formatter(EngFormatter(sep=""))
        axes[1].set(xlabel=f"processor time ({unit})")
        axes[1].sharey(axes[0])
        axes[1].tick_params(labelleft=False)
        for letter, ax in zip("ab", axes, strict=True):
            ax.set_title(f"({letter})", loc="left")
            ax.set_xlim(left=0)
            ax.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
        best_first = sorted(labels, key=lambda name: -_last_top1(_by_name(shown)[name]).mean())
        _legend(figure, styles, {name: labels[name] for name in best_first})
    return figure


def draw_logged(runs: Sequence[ComparedRun], metrics: Sequence[str]) -> Figure:
    """Draws logged values of runs against epochs, a panel for each.

    Args:
        runs: The runs; those that log none of the values are left out.
        metrics: Names of the values.

    Returns:
        The figure, for :func:`write_figure`.

    Raises:
        ValueError: If no run has logged one of them.
    """
    shown = [run for run in runs if any(np.size(run.logged.get(name, ())) for name in metrics)]
    for metric in metrics:
        if not any(np.size(run.logged.get(metric, ())) for run in shown):
            raise ValueError(f"There is nothing to draw: no run has logged {metric!r}.")
    with matplotlib.rc_context(STYLE):
        styles = _styles(runs)
        figure, axes = _panels(len(metrics), _by_name(shown))
        for number, (ax, metric) in enumerate(zip(axes, metrics, strict=True)):
            for name, of_name in _by_name(shown).items():
                curves = [np.asarray(r.logged.get(metric, np.empty((0, 2)))) for r in of_name]
                curves = [_smooth(*curve.T) for curve in curves if curve.size]
                if curves:
                    _draw_seeds(ax, curves, **styles[name])
            if metric == ENTROPY:
                _draw_bounds(ax, shown)
            ax.set_title(f"({'abcdefghijklmnopqrstuvwxyz'[number % 26]}) {metric}", loc="left")
            ax.set_xlim(left=0)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND_STEPS))
        _legend(figure, styles, {name: name for name in _by_name(shown)})
    return figure


def write_figure(figure: Figure, path: Path) -> None:
    """Writes a figure atomically; the suffix of the path is its format."""
    with atomic_write(path) as partial, matplotlib.rc_context(STYLE):
        figure.savefig(partial, format=path.suffix[1:])


def _panels(number: int, labels: Iterable[str]) -> tuple[Figure, list[Axes]]:
    """Returns a figure of some panels, with room for a legend of these labels beside them."""
    columns = min(number, MAX_COLUMNS)
    rows = -(-number // columns)
    legend = LEGEND_WIDTH + CHARACTER_WIDTH * max(map(len, labels))
    size = (columns * PANEL_WIDTH + legend, rows * PANEL_HEIGHT)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.03)
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subplot(grid[divmod(n, columns)]) for n in range(number)]


def _by_name(runs: Sequence[ComparedRun]) -> dict[str, list[ComparedRun]]:
    names = dict.fromkeys(run.name for run in runs)
    return {name: [run for run in runs if run.name == name] for name in names}


def _styles(runs: Sequence[ComparedRun]) -> dict[str, dict]:
    """Returns a colour and a style of line for each name, in the order of the runs."""
    return {
        name: {
            "color": COLORS[place % len(COLORS)],
            "linestyle": DASHES[place // len(COLORS) % len(DASHES)],
        }
        for place, name in enumerate(_by_name(runs))
    }


def _draw_seeds(
    ax: Axes, curves: Sequence[tuple[np.ndarray, np.ndarray]], color: str, linestyle: object
) -> None:
    """Draws the mean of curves (x, y), and each of them thin if there are several."""
    if len(curves) > 1:
        for x, y in curves:
            ax.plot(x, y, color=color, alpha=0.35, linewidth=0.7, zorder=2)
    # Seeds that failed have fewer points.
    length = min(len(x) for x, _ in curves)
    x, y = (np.mean([curve[axis][:length] for curve in curves], axis=0) for axis in (0, 1))
    marker = "o" if length <= MAX_VALIDATION_MARKERS // 2 else None
    style = {"color": color, "linestyle": linestyle, "marker": marker, "markersize": 2.5}
    ax.plot(x, y, zorder=3, **style)


def _draw_bounds(ax: Axes, runs: Sequence[ComparedRun]) -> None:
    """Draws the largest entropies, which a collapse to the uniform distribution reaches."""
    for bound in sorted({run.entropy_bound for run in runs if run.entropy_bound is not None}):
        ax.axhline(bound, color=GRAY, linestyle="--", linewidth=1)
        ax.annotate(
            f"ln K = {bound:.2f}",
            (0.99, bound),
            xycoords=ax.get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            color=GRAY,
        )


def _smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return thin_out(x, running_mean(y, smoothing_window(len(y))))


def _last_top1(runs: Sequence[ComparedRun]) -> np.ndarray:
    return np.array([run.top1[-1] for run in runs])


def _final(runs: Sequence[ComparedRun]) -> str:
    last = _last_top1(runs)
    deviation = f" \u00b1 {last.std(ddof=1):.1f}" if len(last) > 1 else ""
    return f"{last.mean():.1f}{deviation}"


def _legend(figure: Figure, styles: Mapping[str, dict], labels: Mapping[str, str]) -> None:
    handles = [Line2D([], [], **styles[name], label=label) for name, label in labels.items()]
    figure.legend(handles=handles, loc="outside right upper", handlelength=2.6, labelspacing=0.6)
