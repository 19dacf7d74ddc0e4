"""Curves of a run, read back from its files, as the charts of the report."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmdino.utils.printable import printable
from mmdino.visualization import TrainingCurves
from mmdino.visualization.training_figure import (
    CURVES,
    OVERLAP,
    QUALITY,
    RANKS,
    RIDGE_TOP1,
    running_mean,
    smoothing_window,
    thin_out,
)

MAX_POINTS = 400
"""Points of a curve, which keep its spikes."""


class Series(NamedTuple):
    """A curve of a chart.

    Attributes:
        label: Its name.
        color: Number of its colour.
        iteration: (P,) Iterations.
        value: (P,) Values; NaN where there is none.
        kind: "line", "points" for a line with a mark at each value, or "faint" behind another.
    """

    label: str
    color: int
    iteration: np.ndarray
    value: np.ndarray
    kind: str = "line"


class Chart(NamedTuple):
    """A chart of the report.

    Attributes:
        title: What it shows.
        unit: Unit of its values.
        says: How to read it.
        series: Its curves.
        bounds: Values at which it has a dashed line, with their names.
        from_zero: Whether its axis begins at 0.
    """

    title: str
    unit: str
    says: str
    series: Sequence[Series]
    bounds: Sequence[tuple[float, str]] = ()
    from_zero: bool = False


def read_curves(path: Path) -> TrainingCurves | None:
    """Reads what ``write_training_figure`` wrote; None if it is not there.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        return _as_curves(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"The curves in {printable(path)!r} are damaged ({type(error).__name__}: {error}). "
            "Remove the file: a running training writes it again, and without it the report takes "
            "the values from the log."
        ) from error


def _as_curves(data: Mapping[str, Any]) -> TrainingCurves:
    train, knn, quality = data["train"], data["knn"], data.get("quality") or {"iteration": []}
    return TrainingCurves(
        entropy_bound=data["entropy_bound"],
        iterations_per_epoch=data["iterations_per_epoch"],
        iteration=train["iteration"],
        # JSON's null becomes NaN.
        **{name: np.array(train.get(name, ()), dtype=np.float64) for name in CURVES},
        knn=list(zip(knn["iteration"], knn["top1"], knn["top5"], strict=True)),
        quality=[
            (
                done,
                {
                    name: quality[name][index]
                    for name in QUALITY
                    if name in quality and quality[name][index] is not None
                },
            )
            for index, done in enumerate(quality["iteration"])
        ],
    )


def curves_of_log(
    training: Mapping[int, Mapping[str, float]], iterations_per_epoch: int | None
) -> TrainingCurves:
    """Makes curves of logged lines, for runs without the file of the curves.

    Args:
        training: Values by the iterations done, in order.
        iterations_per_epoch: Iterations of an epoch; None if the run does not count them.
    """
    bounds = [line["entropy_bound"] for line in training.values() if "entropy_bound" in line]
    return TrainingCurves(
        entropy_bound=bounds[-1] if bounds else None,
        iterations_per_epoch=iterations_per_epoch,
        iteration=list(training),
        **{
            name: [line.get(name, math.nan) for line in training.values()]
            for name in CURVES
            if any(name in line for line in training.values())
        },
    )


def charts_of(curves: TrainingCurves) -> list[Chart]:
    """Returns the charts of what was measured."""
    bound, has_prototypes = curves.entropy_bound, bool(curves.used_prototypes.size)
    of_bound = [] if bound is None else [(bound, f"ln K = {bound:.2f}")]
    charts = [
        Chart(
            "Loss",
            "" if bound is None else "nats",
            "The dashed line is the loss of an output that ignores the image." if of_bound else "",
            _trained(curves, "loss", "loss", 1),
            of_bound,
        ),
        _accuracy(curves),
        Chart(
            "Effective rank",
            "dimensions",
            "How many directions the features use; it falls when some of them collapse.",
            [
                Series(label, color, *curves.measured(name), "points")
                for (name, label), color in zip(RANKS.items(), (1, 2), strict=True)
            ],
            from_zero=True,
        ),
        Chart(
            "Same neighbours in two views",
            "%",
            "Nearest neighbours that two views of an image share.",
            [Series("shared", 3, *curves.measured(OVERLAP), "points")],
        ),
    ]
    if of_bound:
        charts.append(
            Chart(
                "Entropy",
                "nats",
                "A collapse has the teacher's entropy at 0 or at ln K, and KL at 0.",
                [
                    *_trained(curves, "teacher_entropy", "teacher entropy", 1),
                    *_trained(curves, "kl", "KL(teacher ‖ student)", 2),
                ],
                of_bound,
                from_zero=True,
            )
        )
    charts.append(
        Chart(
            "Feature spread and used prototypes" if has_prototypes else "Feature spread",
            "",
            "The spread is near 1 for features spread over the sphere, 0 when all images have the "
            "same one."
            + (" Used: the prototypes that are the teacher's first." if has_prototypes else ""),
            [
                *_trained(curves, "feature_std", "feature spread", 1),
                *_trained(curves, "used_prototypes", "used prototypes", 2),
            ],
            from_zero=True,
        )
    )
    kept = []
    for chart in charts:
        series = [each for each in chart.series if np.isfinite(each.value).any()]
        if series:
            kept.append(chart._replace(series=series))
    return kept


def _accuracy(curves: TrainingCurves) -> Chart:
    knn = np.array([point[:2] for point in curves.knn], dtype=np.float64).reshape(-1, 2).T
    ridge = curves.measured(RIDGE_TOP1)
    untrained = [
        (values[0], f"{name} untrained {values[0]:.1f}")
        for name, (done, values) in {"k-NN": knn, "linear": ridge}.items()
        if values.size and done[0] == 0
    ]
    return Chart(
        "Accuracy of frozen features",
        "%",
        "Top-1 on the images of the validation; dashed: the network before training."
        if untrained
        else "Top-1 on the images of the validation.",
        [Series("k-NN", 3, *knn, "points"), Series("linear", 4, *ridge, "points")],
        untrained,
    )


def _trained(curves: TrainingCurves, name: str, label: str, color: int) -> list[Series]:
    """Returns a curve of training and, if it is long, its running mean before it."""
    values = getattr(curves, name)
    if not values.size:
        return []
    window = smoothing_window(len(values))
    raw = Series(label, color, *thin_out(curves.iteration, values, MAX_POINTS), "line")
    if window == 1:
        return [raw]
    mean = thin_out(curves.iteration, running_mean(values, window), MAX_POINTS)
    return [raw._replace(kind="faint"), Series(f"{label}, mean of {window}", color, *mean)]
