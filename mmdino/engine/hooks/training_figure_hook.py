"""The figure of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import Tensor

from mmdino.engine.model_access import bare_model
from mmdino.registry import HOOKS
from mmdino.visualization import (
    TrainingCurves,
    curves_as_json,
    displayable,
    draw_training_figure,
    shown_levels,
    write_training_figure,
)
from mmdino.visualization.training_figure import CURVES, FORMATS, QUALITY

RECORD = "knn_curve"
QUALITY_RECORD = "quality_curve"


@HOOKS.register_module()
class TrainingFigureHook(Hook):
    """Draws the run so far: loss, k-NN accuracy, signs of collapse, and the views of some images.

    The figure is written after ``first`` iterations, then at twice as many and so on, after each
    validation and after training, as ``<work_dir>/<filename>``, with its data beside it, as
    ``.json``. It shows what the model logs: the teacher's entropy where there is one, else the
    spread of the features; a model of mmpretrain has its loss and k-NN accuracy; and what
    validations measure: k-NN, a linear probe, effective ranks, neighbours of two views. With
    ``val_at_start=True`` in ``train_cfg`` it shows these of the untrained network too. The curves
    are in the checkpoint, so a resumed run continues them.

    Args:
        filename: Name of the figure within ``work_dir``; PNG, PDF or SVG.
        interval: Iterations between two further times of writing it; None for none. Each takes
            about a second in the main process.
        first: Iterations after which it is written for the first time.
        num_images: Number of images of the first batch whose views are shown; 0 for none.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range.

    Example:
        >>> default_hooks = dict(training_figure=dict(type="mmdino.TrainingFigureHook"))
        >>> train_cfg = dict(type="mmdino.ResumableTrainLoop", max_epochs=100, val_at_start=True)
    """

    def __init__(
        self,
        filename: str = "training.png",
        interval: int | None = None,
        num_images: int = 4,
        first: int = 50,
    ) -> None:
        if not isinstance(filename, str):
            raise TypeError(f"TrainingFigureHook got filename={filename!r}; it must be a string.")
        if Path(filename).suffix not in FORMATS:
            raise ValueError(
                f"TrainingFigureHook got filename={filename!r}; its suffix must be one of "
                f"{', '.join(FORMATS)}."
            )
        if interval is not None:
            _require_int("interval", interval, least=1)
        _require_int("num_images", num_images, least=0)
        _require_int("first", first, least=1)
        self.filename = filename
        self.interval = interval
        self.num_images = num_images
        self.first = first
        self._views: list[list[np.ndarray]] = []
        self._best_k: int | None = None
        self._said_no_knn = False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keeps the views of the first batch, before the model may change them in place."""
        if self._views or not self.num_images or not is_main_process():
            return
        preprocessor = bare_model(runner).data_preprocessor
        bgr = getattr(preprocessor, "bgr_to_rgb", True)
        self._views = first_views(data_batch["inputs"], self.num_images, bgr)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Writes the figure at the interval, and early in the run."""
        at_interval = self.interval and self.every_n_train_iters(runner, self.interval)
        if at_interval or is_doubling(runner.iter + 1, self.first):
            self._write(runner, runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Adds a point to the k-NN curve and writes the figure."""
        # A validation outside of training must not overwrite the figure of the training.
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        metrics = metrics or {}
        quality = {name: float(metrics[name]) for name in QUALITY if name in metrics}
        if quality:
            _record(runner, QUALITY_RECORD, (runner.iter, quality))
        if "knn/top1" in metrics:
            top5 = metrics.get("knn/top5")
            top5 = None if top5 is None else float(top5)
            _record(runner, RECORD, (runner.iter, float(metrics["knn/top1"]), top5))
            self._best_k = best_k(metrics)
        elif not quality and not self._said_no_knn:
            self._said_no_knn = True
            runner.logger.info(
                "The training figure has no curve of the validation, which gives no knn/top1, but "
                f"{', '.join(metrics) or 'nothing'}."
            )
        self._write(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Writes the figure and logs its path."""
        curves = self._curves(runner, runner.iter)
        written = self._write(runner, runner.iter)
        parts = [f"k-NN top-1: {summary(curves, self._best_k)}."] if curves.knn else []
        parts += [f"Figure: {self._path(runner)}"] if written else []
        if parts:
            runner.logger.info(" ".join(parts))

    def _curves(self, runner: Runner, done: int) -> TrainingCurves:
        by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        hub = runner.message_hub
        bound = hub.log_scalars.get("train/entropy_bound")
        histories = {
            name: hub.log_scalars[f"train/{name}"].data[0]
            for name in CURVES
            if f"train/{name}" in hub.log_scalars
        }
        return TrainingCurves(
            entropy_bound=float(bound.current()) if bound else None,
            knn=tuple(tuple(point) for point in hub.get_info(RECORD, [])),
            quality=tuple(tuple(point) for point in hub.get_info(QUALITY_RECORD, [])),
            iterations_per_epoch=None if by_iteration else len(runner.train_dataloader),
            **aligned(histories, done),
        )

    def _path(self, runner: Runner) -> Path:
        return Path(runner.work_dir) / self.filename

    def _write(self, runner: Runner, done: int) -> bool:
        if not is_main_process():
            return False
        curves = self._curves(runner, done)
        if not (curves.iteration.size or curves.knn or curves.quality or self._views):
            return False
        all_views = len(self._views[0]) if self._views else 0
        views_seen = getattr(bare_model(runner), "num_global_views", all_views)
        figure = draw_training_figure(curves, self._views, views_seen)
        try:
            write_training_figure(figure, curves_as_json(curves), self._path(runner))
        except OSError as error:
            # Not worth losing days of training for.
            runner.logger.warning(
                f"The training figure could not be written: {error}. Training continues."
            )
            return False
        return True


def is_doubling(done: int, first: int) -> bool:
    """Returns whether ``done`` is ``first``, twice ``first``, four times and so on."""
    times, rest = divmod(done, first)
    return rest == 0 and times.bit_count() == 1


def _record(runner: Runner, name: str, point: tuple) -> None:
    """Adds a point, its iteration first, to a curve that the checkpoint has."""
    hub = runner.message_hub
    # A second validation of the same iteration replaces the first.
    earlier = [other for other in hub.get_info(name, []) if other[0] < point[0]]
    hub.update_info(name, [*earlier, point])


def aligned(histories: Mapping[str, np.ndarray], done: int) -> dict[str, np.ndarray]:
    """Gives the last values of all histories their iterations.

    Args:
        histories: Values by name, one an iteration, the last of iteration ``done``. They may begin
            at different ones: the message hub forgets what is more than a million iterations old.
        done: Number of iterations done.

    Returns:
        ``iteration`` and the histories, all of the length (I,) of the longest, NaN where a shorter
        one has none.
    """
    longest = min(max((len(values) for values in histories.values()), default=0), done)
    curves = {"iteration": np.arange(done - longest, done) + 1}
    for name, values in histories.items():
        latest = np.asarray(values, dtype=np.float64)[max(len(values) - longest, 0) :]
        curves[name] = np.concatenate([np.full(longest - len(latest), np.nan), latest])
    return curves


def first_views(
    inputs: Tensor | Sequence[Tensor | Sequence[Tensor]], num_images: int, bgr: bool
) -> list[list[np.ndarray]]:
    """Returns the views of a batch's first images, ready to be shown.

    Args:
        inputs: V views, each a tensor (B, C, H, W) or a list of B tensors (C, H, W); or one tensor
            (B, C, H, W), of methods with a single view.
        num_images: Largest number of images.
        bgr: Whether three channels are in the order blue, green, red.

    Returns:
        For each image its V views; nothing if the batch has none.
    """
    if isinstance(inputs, Tensor) and inputs.dim() == 4:
        inputs = [inputs]
    # The model or its preprocessor says what is wrong with such a batch.
    if not isinstance(inputs, (list, tuple)) or not inputs:
        return []
    if any(view[0].dim() != 3 for view in inputs):
        return []
    count = min(num_images, len(inputs[0]))
    images = [[_as_array(view[image]) for view in inputs] for image in range(count)]
    return [
        [displayable(view, bgr, levels) for view in views]
        for views, levels in zip(images, map(shown_levels, images), strict=True)
    ]


def _as_array(view: Tensor) -> np.ndarray:
    # NumPy has no bfloat16.
    view = view.float() if view.is_floating_point() else view
    return view.detach().cpu().numpy()


def best_k(metrics: Mapping[str, float]) -> int | None:
    """Returns the number of neighbours with the highest top-1, None where metrics do not say."""
    scores = {
        int(match[1]): value
        for name, value in metrics.items()
        if (match := re.fullmatch(r"knn/k(\d+)_top1", name))
    }
    return max(scores, key=lambda k: scores[k]) if scores else None


def summary(curves: TrainingCurves, k: int | None) -> str:
    """Returns the untrained, the last and, if it differs, the best accuracy in words."""
    untrained = [top1 for done, top1, _ in curves.knn if done == 0]
    trained = [(done, top1) for done, top1, _ in curves.knn if done > 0]
    parts = [f"{untrained[0]:.1f} % untrained"] if untrained else []
    neighbours = f" (best k {k})" if k is not None else ""
    if trained:
        best = max(trained, key=lambda point: point[1])
        parts.append(_after(curves, *trained[-1]) + neighbours)
        if best[1] > trained[-1][1]:
            parts.append("best " + _after(curves, *best))
    else:
        parts[-1] += neighbours
    return ", ".join(parts)


def _after(curves: TrainingCurves, done: int, top1: float) -> str:
    epoch = curves.iterations_per_epoch
    unit, number = ("epoch", done / epoch) if epoch else ("iteration", done)
    return f"{top1:.1f} % after {number:g} {unit}{'' if number == 1 else 's'}"


def _require_int(name: str, value: object, least: int) -> None:
    allowed = f"it must be a whole number of at least {least}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"TrainingFigureHook got {name}={value!r}; {allowed}.")
    if value < least:
        raise ValueError(f"TrainingFigureHook got {name}={value}; {allowed}.")
