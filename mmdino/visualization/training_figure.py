"""A training run in one figure: loss, k-NN accuracy, entropy, and the views of some images.

Uses matplotlib's object-oriented interface only, without pyplot's global state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from mmdino.utils.atomic_write import atomic_write

FORMATS = (".png", ".pdf", ".svg")

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # Many journals reject matplotlib's default of type 3.
    "savefig.dpi": 200,
    "text.parse_math": False,  # Names of files and runs may have dollar signs.
    "xtick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 8,
    "ytick.major.width": 0.6,
}
# Okabe and Ito's colours, distinguishable with colour blindness.
BLUE, VERMILION, GREEN, ORANGE, GRAY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "0.35"

# Inches.
PANEL_WIDTH = 5.9
PANEL_HEIGHT = 2.1
MIN_VIEWS_WIDTH, MAX_VIEWS_WIDTH = 2.0, 5.6
MAX_VIEW_HEIGHT = 1.5
VIEW_LABEL_HEIGHT = 0.22
VIEW_GAP = 0.04  # of the tallest view

MAX_POINTS = 2000
MAX_MARKERS = 200
MAX_VALIDATION_MARKERS = 50
MIN_ITERATIONS_TO_SMOOTH = 20
SMOOTHING_FRACTION = 0.02
COLLAPSE_MARGIN = 0.03
MARGIN_BEYOND_BOUNDS = 0.15
# Minimum spans of the y axes, so that noise does not fill the axis of a flat curve.
MIN_LOSS_SPAN = 0.1  # of ln K
MIN_KNN_SPAN = 5  # percentage points
ROUND_STEPS = [1, 2, 2.5, 5, 10]


CURVES = ("loss", "teacher_entropy", "kl", "feature_std", "used_prototypes")
"""Names of the curves, as they are logged."""
RIDGE_TOP1 = "ridge/top1"
RANKS = {"features/rankme": "RankMe", "features/lidar": "LiDAR"}
OVERLAP = "features/neighbor_overlap"
QUALITY = (RIDGE_TOP1, *RANKS, OVERLAP)
"""Names of what validations measure beside k-NN, as they are logged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingCurves:
    """The logged values of a run. Sequences are converted to float64 arrays.

    Attributes:
        entropy_bound: Maximum entropy ln K of K prototypes, in nats, which is also the loss when
            the output ignores the image; None for methods without prototypes.
        iteration: (I,) Completed iterations, from 1, at each value of the next five.
        loss: (I,) Loss; empty if not logged, like the next four.
        teacher_entropy: (I,) Entropy of the teacher in nats.
        kl: (I,) KL(teacher || student) in nats.
        feature_std: (I,) Spread of the features over the batch, 0 in a collapse.
        used_prototypes: (I,) Fraction of the prototypes that the teacher uses in a batch.
        knn: Per validation, in order: completed iterations (0 for the untrained network), top-1 and
            top-5 accuracy in percent; top-5 may be None.
        quality: Per validation, in order: completed iterations, and what it measured of
            ``QUALITY``.
        iterations_per_epoch: Iterations per epoch; None if the run does not count epochs.

    Raises:
        ValueError: If the length of a curve is neither 0 nor that of ``iteration``.
    """

    entropy_bound: float | None = None
    iteration: ArrayLike = ()
    loss: ArrayLike = ()
    teacher_entropy: ArrayLike = ()
    kl: ArrayLike = ()
    feature_std: ArrayLike = ()
    used_prototypes: ArrayLike = ()
    knn: Sequence[tuple[int, float, float | None]] = ()
    quality: Sequence[tuple[int, Mapping[str, float]]] = ()
    iterations_per_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("iteration", *CURVES):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            object.__setattr__(self, name, values)
            if len(values) not in (0, len(self.iteration)):
                raise ValueError(
                    f"TrainingCurves got {len(self.iteration)} iterations, but {len(values)} "
                    f"values of {name}. Pass one per iteration (NaN if unknown) or none."
                )

    @property
    def last_iteration(self) -> int:
        """Completed iterations at the last logged value."""
        validations = [*self.knn[-1:], *self.quality[-1:]]
        return int(max([0, *self.iteration[-1:], *(point[0] for point in validations)]))

    def measured(self, name: str) -> np.ndarray:
        """Returns iterations and values (2, P) of an entry of ``QUALITY``."""
        points = [(done, values[name]) for done, values in self.quality if name in values]
        return np.array(points, dtype=np.float64).reshape(-1, 2).T

    @property
    def axis_unit(self) -> tuple[str, int]:
        """Name and iterations per unit of the x axis: epochs once two of them are completed."""
        epoch = self.iterations_per_epoch
        return ("epoch", epoch) if epoch and self.last_iteration >= 2 * epoch else ("iteration", 1)


def draw_training_figure(
    curves: TrainingCurves,
    views: Sequence[Sequence[np.ndarray]] = (),
    num_global_views: int = 2,
) -> Figure:
    """Draws a run, with a panel for each kind of data that it has.

    Args:
        curves: The logged values of the run.
        views: The V views of each of some images, from :func:`displayable`.
        num_global_views: Number of leading views that are global.

    Returns:
        The figure, for :func:`write_training_figure`.

    Raises:
        ValueError: If there is nothing to draw.
    """
    panels: list[Callable[[Axes, str, TrainingCurves], None]] = []
    if curves.loss.size:
        panels.append(draw_loss)
    if curves.knn or curves.measured(RIDGE_TOP1).size:
        panels.append(draw_accuracy)
    if any(curves.measured(name).size for name in RANKS):
        panels.append(draw_ranks)
    if curves.measured(OVERLAP).size:
        panels.append(draw_overlap)
    if curves.teacher_entropy.size and curves.entropy_bound is not None:
        panels.append(draw_entropy)
    if curves.feature_std.size or curves.used_prototypes.size:
        panels.append(draw_spread)
    if not panels and not views:
        raise ValueError(
            "There is nothing to draw: no curves, no validation and no views. Draw after the first "
            "iteration or validation, or pass views."
        )
    with matplotlib.rc_context(STYLE):
        return _draw(panels, curves, views, num_global_views)


def _draw(
    panels: Sequence[Callable[[Axes, str, TrainingCurves], None]],
    curves: TrainingCurves,
    views: Sequence[Sequence[np.ndarray]],
    num_global_views: int,
) -> Figure:
    height = PANEL_HEIGHT * max(len(panels), 1 if not views else 2)
    widths = [PANEL_WIDTH] if panels else []
    if views:
        across, down = mosaic(views, num_global_views).size
        scale = min(height / down, MAX_VIEW_HEIGHT * len(views) / down, MAX_VIEWS_WIDTH / across)
        widths.append(max(scale * across, MIN_VIEWS_WIDTH))
    figure = Figure(figsize=(sum(widths) + 0.3, height + 0.4), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.02)
    grid = figure.add_gridspec(max(len(panels), 1), len(widths), width_ratios=widths)
    axes: list[Axes] = []
    for row, panel in enumerate(panels):
        axes.append(figure.add_subplot(grid[row, 0], sharex=axes[0] if axes else None))
        panel(axes[-1], f"({ascii_lowercase[row]})", curves)
    if panels:
        _label_x(axes, curves)
    if views:
        draw_views(
            figure.add_subplot(grid[:, -1]),
            f"({ascii_lowercase[len(panels)]})" if panels else "",
            views,
            num_global_views,
        )
    return figure


def draw_loss(ax: Axes, letter: str, curves: TrainingCurves) -> None:
    """Draws the loss, its running mean and, for methods with prototypes, ln K."""
    _title(ax, letter, "Loss")
    _draw_curve(ax, curves, curves.loss, BLUE, "loss", "mean of {window:,}")
    if curves.entropy_bound is not None:
        _draw_bound(ax, curves.entropy_bound, "image ignored")
        _widen(ax, MIN_LOSS_SPAN * curves.entropy_bound)
    _mark_not_finite(ax, curves, curves.loss)
    ax.set_ylabel("loss" if curves.entropy_bound is None else "loss (nats)")
    _legend(ax)


def draw_accuracy(ax: Axes, letter: str, curves: TrainingCurves) -> None:
    """Draws top-1 accuracies of k-NN and a linear probe, dashed for the untrained network."""
    knn = np.array([point[:2] for point in curves.knn], dtype=np.float64).reshape(-1, 2).T
    ridge = curves.measured(RIDGE_TOP1)
    drawn = {"k-NN": (knn, GREEN), "linear": (ridge, ORANGE)}
    drawn = {name: entry for name, entry in drawn.items() if entry[0].size}
    several = len(drawn) > 1
    _title(ax, letter, "Accuracy" if several else "".join(drawn))
    for name, (points, color) in drawn.items():
        done, top1 = points
        untrained = done[0] == 0
        label = "last {:.1f} %" if done.any() else ""
        if several:
            # An entry for each dashed line too would not fit beside the title.
            label = f"{name} {top1[0]:.1f} to {{:.1f}} %" if untrained else f"{name} {label}"
        _draw_validations(ax, curves, points, color, label)
        if untrained:
            ax.axhline(
                top1[0],
                color=color if several else GRAY,
                linestyle="--",
                linewidth=1,
                label=None if several else f"untrained {top1[0]:.1f} %",
            )
    ax.set_ylabel("k-NN top-1 (%)" if list(drawn) == ["k-NN"] else "top-1 (%)")
    _widen(ax, MIN_KNN_SPAN)
    _legend(ax)


def draw_ranks(ax: Axes, letter: str, curves: TrainingCurves) -> None:
    """Draws the effective ranks of the features, which fall in a collapse of single directions."""
    _title(ax, letter, "Effective rank")
    for (name, label), color in zip(RANKS.items(), (BLUE, VERMILION), strict=True):
        _draw_validations(ax, curves, curves.measured(name), color, f"{label} {{:.1f}}")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("dimensions")
    _legend(ax)


def draw_overlap(ax: Axes, letter: str, curves: TrainingCurves) -> None:
    """Draws the fraction of nearest neighbours that two views of an image share."""
    _title(ax, letter, "Same neighbours in two views")
    _draw_validations(ax, curves, curves.measured(OVERLAP), GREEN, "last {:.1f} %")
    ax.set_ylabel("neighbours (%)")
    _widen(ax, MIN_KNN_SPAN)
    _legend(ax)


def _draw_validations(
    ax: Axes, curves: TrainingCurves, points: np.ndarray, color: str, label: str
) -> None:
    """Draws iterations and values (2, P), with the last value in the label."""
    if not points.size:
        return
    iteration, values = points
    marker = "o" if len(values) <= MAX_VALIDATION_MARKERS else None
    ax.plot(
        iteration / curves.axis_unit[1],
        values,
        marker=marker,
        color=color,
        label=label.format(values[-1]),
        clip_on=False,
        zorder=3,
    )
    ax.margins(y=0.12)


def draw_entropy(ax: Axes, letter: str, curves: TrainingCurves) -> None:
    """Draws the teacher's entropy, KL(teacher || student), and the two collapse zones.

    Without sharpening the entropy converges to ln K, without centring to 0; in both cases the KL
    divergence converges to 0 (Caron et al. 2021, section 5.3).
    """
    _title(ax, letter, "Entropy")
    _draw_curve(ax, curves, curves.teacher_entropy, BLUE, "teacher entropy")
    _draw_curve(ax, curves, curves.kl, VERMILION, "KL(teacher \u2016 student)")
    bound = curves.entropy_bound
    _draw_bound(ax, bound, "")
    # The bound is 0 for a single prototype.
    span = bound or 1.0
    low, high = -MARGIN_BEYOND_BOUNDS * span, (1 + MARGIN_BEYOND_BOUNDS) * span
    finite = curves.kl[np.isfinite(curves.kl)]
    top = max(high, 1.05 * finite.max(initial=0))
    zone = {"color": VERMILION, "alpha": 0.1, "linewidth": 0, "zorder": 0.5}
    ax.axhspan(low, COLLAPSE_MARGIN * span, **zone)
    ax.axhspan(bound - COLLAPSE_MARGIN * span, high, **zone)
    # The labels are outside of the bounds, where there is no curve.
    text = {
        "transform": ax.get_yaxis_transform(),
        "ha": "right",
        "va": "center",
        "fontsize": 7,
        "color": "#8C3B00",
    }
    ax.text(0.99, (bound + high) / 2, "collapse to uniform: entropy ln K, KL 0", **text)
    ax.text(0.99, low / 2, "collapse to one prototype: entropy 0, KL 0", **text)
    ax.set_ylim(low, top)
    locator = MaxNLocator(5, steps=ROUND_STEPS)
    ax.set_yticks([tick for tick in locator.tick_values(0, top) if 0 <= tick <= top])
    ax.set_ylabel("nats")
    _legend(ax)


def draw_spread(ax: Axes, letter: str, curves: TrainingCurves) -> None:
    """Draws the spread of the features and the used prototypes, which are near 0 in a collapse."""
    drawn = {
        "feature spread": (curves.feature_std, BLUE),
        "used prototypes": (curves.used_prototypes, VERMILION),
    }
    drawn = {name: entry for name, entry in drawn.items() if entry[0].size}
    _title(ax, letter, " and ".join(drawn).capitalize())
    for name, (values, color) in drawn.items():
        _draw_curve(ax, curves, values, color, name)
    ax.axhspan(-1, COLLAPSE_MARGIN, color=VERMILION, alpha=0.1, linewidth=0, zorder=0.5)
    ax.set_ylim(0, max(1.0, ax.get_ylim()[1]))
    ax.set_ylabel("fraction" if curves.used_prototypes.size else "feature_std")
    _legend(ax)


def draw_views(
    ax: Axes,
    letter: str,
    views: Sequence[Sequence[np.ndarray]],
    num_global_views: int = 2,
) -> None:
    """Draws the views of some images, one image per row, all at the same scale."""
    noun = "one image" if len(views) == 1 else f"{len(views)} images"
    _title(ax, letter, f"Views of {noun}")
    ax.axis("off")
    layout = mosaic(views, num_global_views)
    below_labels = 1 - VIEW_LABEL_HEIGHT / ax.get_figure().get_figheight()
    canvas = ax.inset_axes((0, 0, 1, below_labels))
    for row, image in enumerate(views):
        for view, (left, top) in zip(image, layout.corners, strict=True):
            height, width = view.shape[:2]
            top += row * layout.row_pitch
            canvas.imshow(
                view,
                extent=(left, left + width, top + height, top),
                cmap="gray" if view.ndim == 2 else None,
                vmin=0,
                vmax=255,
            )
    for left, label in layout.labels:
        canvas.annotate(label, (left, 0), xytext=(0, 3), textcoords="offset points", va="bottom")
    canvas.set(xlim=(0, layout.size[0]), ylim=(layout.size[1], 0), anchor="NW")
    canvas.axis("off")


@dataclass(frozen=True)
class Mosaic:
    """Layout of the views, in pixels of the views.

    Attributes:
        corners: Left and top of each view of the first image.
        row_pitch: Vertical distance between images.
        size: Total width and height.
        labels: Left and text of the label above each block of views of one size.
    """

    corners: tuple[tuple[float, float], ...]
    row_pitch: float
    size: tuple[float, float]
    labels: tuple[tuple[float, str], ...]


def mosaic(views: Sequence[Sequence[np.ndarray]], num_global_views: int) -> Mosaic:
    """Lays out views in blocks of one size side by side, small views stacked to equal height.

    Views have the same sizes for all images; the first ``num_global_views`` are global.
    """
    kinds = [
        ("global" if index < num_global_views else "local", *view.shape[:2])
        for index, view in enumerate(views[0])
    ]
    tallest = max(height for _, height, _ in kinds)
    gap = VIEW_GAP * tallest
    blocks = []
    for (name, height, width), same in groupby(kinds):
        number = len(list(same))
        columns = math.ceil(number / max(1, tallest // height))
        rows = math.ceil(number / columns)
        blocks.append((name, height, width, number, columns, rows * (height + gap) - gap))
    row_height = max(block_height for *_, block_height in blocks)
    row_pitch = row_height + 3 * gap
    left, corners, labels = 0.0, [], []
    for name, height, width, number, columns, block_height in blocks:
        top = (row_height - block_height) / 2
        corners += [
            (left + index % columns * (width + gap), top + index // columns * (height + gap))
            for index in range(number)
        ]
        size = f"{height}" if height == width else f"{height} \u00d7 {width}"
        labels.append((left, f"{name}, {size} px"))
        left += columns * (width + gap) + gap
    return Mosaic(
        corners=tuple(corners),
        row_pitch=row_pitch,
        size=(left - 2 * gap, len(views) * row_pitch - 3 * gap),
        labels=tuple(labels),
    )


def shown_levels(views: Sequence[np.ndarray]) -> tuple[int, int] | None:
    """Returns the levels that are black and white where views of an image are shown.

    Bands and scans may use few of the 256 levels and would be black. All views of an image have the
    same levels, for changes of brightness to be seen.

    Args:
        views: Views (C, H, W) of an image.

    Returns:
        Their least and greatest value in the channels that :func:`displayable` shows, for its
        ``levels``; None for colours, which are shown as they are, and for other types than uint8.
    """
    if any(view.dtype != np.uint8 or len(view) == 3 for view in views):
        return None
    shown = [_shown(view) for view in views]
    return min(int(view.min()) for view in shown), max(int(view.max()) for view in shown)


def displayable(
    view: np.ndarray, bgr: bool = True, levels: tuple[float, float] | None = None
) -> np.ndarray:
    """Converts a view to an RGB or grey image for display.

    Args:
        view: (C, H, W) of any dtype.
        bgr: Whether three channels are in BGR order, as OpenMMLab decodes them.
        levels: Values that become 0 and 255; by default 0 and 255 of uint8, else the least and
            the greatest finite one.

    Returns:
        uint8, (H, W, 3) from the first three channels, or (H, W) from the first if there are fewer.

    Raises:
        ValueError: If the view does not have three non-empty axes.
    """
    if view.ndim != 3 or 0 in view.shape:
        raise ValueError(
            f"A view must have shape (channels, height, width), none of them 0, got {view.shape}."
        )
    channels = _shown(view)
    if len(view) == 3 and bgr:
        channels = channels[::-1]
    if channels.dtype != np.uint8 or levels is not None:
        channels = _stretch(channels.astype(np.float64), levels)
    return channels[0] if len(channels) == 1 else np.moveaxis(channels, 0, -1)


def _shown(view: np.ndarray) -> np.ndarray:
    """Returns the first three channels, or the first if there are fewer."""
    return view[:1] if len(view) < 3 else view[:3]


def _stretch(values: np.ndarray, levels: tuple[float, float] | None) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low, high = levels or ((finite.min(), finite.max()) if finite.size else (0.0, 0.0))
    scale = 255 / (high - low) if high > low else 0.0
    return np.nan_to_num((np.clip(values, low, high) - low) * scale).round().astype(np.uint8)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred running mean of the finite values.

    Args:
        values: (I,) values.
        window: Number of values, rounded up to an odd one; the window is truncated at the ends.

    Returns:
        (I,) means, NaN where no value of the window is finite.
    """
    finite = np.isfinite(values)
    sums, counts = (
        np.concatenate([[0], np.cumsum(part)]) for part in (np.where(finite, values, 0), finite)
    )
    positions = np.arange(len(values))
    start = np.maximum(positions - window // 2, 0)
    end = np.minimum(positions + window // 2 + 1, len(values))
    number = counts[end] - counts[start]
    total = sums[end] - sums[start]
    return np.divide(total, number, out=np.full(len(values), np.nan), where=number > 0)


def thin_out(
    x: np.ndarray, y: np.ndarray, max_points: int = MAX_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Reduces a long curve to the minimum and maximum of each bin, which keeps all spikes.

    Args:
        x: (I,) positions.
        y: (I,) values; a non-finite one is kept only if its bin has no finite one.
        max_points: Maximum number of points.

    Returns:
        Positions and values of at most ``max_points`` points, in order.
    """
    if len(x) <= max_points:
        return x, y
    edges = np.linspace(0, len(x), max_points // 2 + 1).astype(int)
    keep = set()
    for start, end in pairwise(edges):
        part = y[start:end]
        finite = np.isfinite(part)
        keep |= {
            start + int(np.where(finite, part, np.inf).argmin()),
            start + int(np.where(finite, part, -np.inf).argmax()),
        }
    kept = np.array(sorted(keep))
    return x[kept], y[kept]


def smoothing_window(num_values: int) -> int:
    """Returns the odd window of the running mean: 2 % of the curve, 1 if it is short."""
    if num_values < MIN_ITERATIONS_TO_SMOOTH:
        return 1
    return 2 * round(SMOOTHING_FRACTION * num_values / 2) + 1


def curves_as_json(curves: TrainingCurves) -> dict[str, Any]:
    """Converts curves to JSON types, with six significant digits and null for non-finite values.

    Returns:
        ``entropy_bound`` (nats) and ``iterations_per_epoch``; ``train``, with lists ``iteration``,
        ``loss``, ``teacher_entropy``, ``kl`` (nats), ``feature_std`` and ``used_prototypes``;
        ``knn``, with lists
        ``iteration``, ``top1`` and ``top5`` (percent); ``quality``, with a list ``iteration`` and
        one for each name of ``QUALITY`` that was measured.
    """
    columns = list(zip(*curves.knn, strict=True)) or [(), (), ()]
    return {
        "entropy_bound": curves.entropy_bound,
        "iterations_per_epoch": curves.iterations_per_epoch,
        "train": {
            "iteration": curves.iteration.astype(int).tolist(),
            **{name: _rounded(getattr(curves, name).tolist()) for name in CURVES},
        },
        "knn": {
            "iteration": [int(value) for value in columns[0]],
            "top1": _rounded(columns[1]),
            "top5": _rounded(columns[2]),
        },
        "quality": {
            "iteration": [done for done, _ in curves.quality],
            **{
                name: _rounded([values.get(name) for _, values in curves.quality])
                for name in QUALITY
                if any(name in values for _, values in curves.quality)
            },
        },
    }


def write_training_figure(figure: Figure, data: Mapping[str, Any], path: Path) -> None:
    """Writes a figure, and its data beside it with the suffix ``.json``, both atomically.

    Args:
        figure: The figure.
        data: The result of :func:`curves_as_json`.
        path: Path of the figure, with a suffix of ``FORMATS``.

    Raises:
        OSError: If the files cannot be written.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    with atomic_write(path) as temporary, matplotlib.rc_context(STYLE):
        figure.savefig(temporary, format=path.suffix[1:])
    with atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(text + "\n")


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [
        None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
        for value in values
    ]


def _draw_curve(
    ax: Axes,
    curves: TrainingCurves,
    values: np.ndarray,
    color: str,
    label: str,
    mean_label: str | None = None,
) -> None:
    """Draws a curve and, if it is long, its running mean; both labelled or only the latter."""
    if not values.size:
        return
    _, unit = curves.axis_unit
    x = curves.iteration / unit
    window = smoothing_window(len(values))
    raw = np.where(np.isfinite(values), values, np.nan)
    if window == 1:
        ax.plot(x, raw, "-o", color=color, label=label, clip_on=False, zorder=3)
        return
    raw_label = label if mean_label else None
    ax.plot(*thin_out(x, raw), color=color, alpha=0.3, linewidth=0.5, label=raw_label)
    mean_label = (mean_label or label).format(window=window)
    ax.plot(*thin_out(x, running_mean(values, window)), color=color, label=mean_label)


def _draw_bound(ax: Axes, bound: float, note: str) -> None:
    label = f"ln K = {bound:.2f}" + (f", {note}" if note else "")
    ax.axhline(bound, color=GRAY, linestyle="--", linewidth=1, label=label)


def _mark_not_finite(ax: Axes, curves: TrainingCurves, values: np.ndarray) -> None:
    non_finite = np.flatnonzero(~np.isfinite(values))
    if not non_finite.size:
        return
    _, unit = curves.axis_unit
    shown = non_finite[:: math.ceil(non_finite.size / MAX_MARKERS)]
    ax.plot(
        curves.iteration[shown] / unit,
        np.zeros(len(shown)),
        "x",
        color=VERMILION,
        transform=ax.get_xaxis_transform(),
        clip_on=False,
        label=f"{non_finite.size:,} not finite",
    )


def _widen(ax: Axes, min_span: float) -> None:
    low, high = ax.get_ylim()
    missing = max(min_span - (high - low), 0)
    ax.set_ylim(low - missing / 2, high + missing / 2)


def _label_x(axes: Sequence[Axes], curves: TrainingCurves) -> None:
    name, unit = curves.axis_unit
    bottom = axes[-1]
    bottom.set_xlim(0, max(curves.last_iteration, 1) / unit)
    bottom.set_xlabel(name)
    bottom.xaxis.set_major_locator(MaxNLocator(8, steps=ROUND_STEPS, integer=True))
    bottom.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)


def _title(ax: Axes, letter: str, text: str) -> None:
    ax.set_title(f"{letter} {text}".strip(), loc="left")


def _legend(ax: Axes) -> None:
    """Adds the legend on the line of the title, outside of the axes."""
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.2,
        borderpad=0.2,
        columnspacing=0.9,
        handlelength=1.4,
        handletextpad=0.4,
        ncols=4,
    )
