"""The state of a training run in a line of text, and its settings in a few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.runner import IterBasedTrainLoop, Runner

from mmdino.engine.batch import batch_and_rate
from mmdino.engine.deferred_history import known_values
from mmdino.engine.model_access import bare_model
from mmdino.engine.progress import current_epoch
from mmdino.utils.printable import printable
from mmdino.utils.progress import duration, place, rate

KNN = "knn/top1"
MEASURED = {
    KNN: "k-NN {:.1f} %",
    "ridge/top1": "linear probe {:.1f} %",
    "features/rankme": "RankMe {:.1f}",
    "features/neighbor_overlap": "neighbours {:.1f} %",
}
"""What validations measure, as it is logged and in words."""
ONLY_VALIDATED = 2
"""Most of these in the line; those that come first tell more."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What is known of a run; None or nothing for what it does not log.

    Attributes:
        iteration: Iterations done.
        iterations: Iterations of the whole run.
        epoch: The epoch, from 1; None if the run does not count epochs.
        epochs: Epochs of the whole run.
        loss: Mean loss of the last iterations whose loss has been read.
        images_per_s: Speed over all ranks.
        seconds_left: Seconds to the end at the speed of the last iterations, without validations.
        validated: Values of the last validation, by their logged names.
        best_knn: Highest k-NN accuracy so far, in percent.
        validation: Batches of a validation that are done, and all; None outside of one.
    """

    iteration: int
    iterations: int
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    images_per_s: float | None = None
    seconds_left: float | None = None
    validated: Mapping[str, float] = field(default_factory=dict)
    best_knn: float | None = None
    validation: tuple[int, int] | None = None


def status_line(status: Status, width: int) -> str:
    """Returns the state of a run in one line.

    What does not fit is left out, the least important first: the best k-NN accuracy, iteration, the
    second value of the last validation, speed, its first value, time left and loss.

    Args:
        status: The state.
        width: Number of characters that fit.
    """
    parts = _parts(status)
    for rank in sorted((rank for rank, _ in parts), reverse=True):
        line = ", ".join(text for _, text in parts)
        if len(line) <= width or len(parts) == 1:
            break
        parts = [part for part in parts if part[0] != rank]
    return ", ".join(text for _, text in parts)[:width]


def _parts(status: Status) -> list[tuple[int, str]]:
    """Returns the parts of the line, each with a number that is smaller the more it matters."""
    iteration = place("iteration", status.iteration, status.iterations)
    if status.epoch is None or status.epochs is None:
        parts = [(0, iteration)]
    else:
        parts = [(0, place("epoch", status.epoch, status.epochs)), (6, iteration)]
    if status.validation is not None:
        done, total = status.validation
        parts.append((1, place("validation", done, total) if total else "validation"))
    if status.loss is not None:
        # With its zeros, else the line's length and what fits into it would change all the time.
        parts.append((2, f"loss {status.loss:#.4g}"))
    if status.images_per_s is not None:
        parts.append((4, rate(status.images_per_s)))
    if status.seconds_left is not None:
        parts.append((2, f"{duration(status.seconds_left)} left"))
    measured = in_words(status.validated)[:ONLY_VALIDATED]
    parts += zip((3, 5), measured, strict=False)
    last = status.validated.get(KNN)
    if last is not None and status.best_knn is not None and status.best_knn > last:
        parts.append((7, f"best {status.best_knn:.1f} %"))
    return parts


def in_words(metrics: Mapping[str, float]) -> list[str]:
    """Returns what a validation measured, in words; all of it by name if none is known."""
    known = [text.format(metrics[name]) for name, text in MEASURED.items() if name in metrics]
    others = (f"{name} {metrics[name]:.4g}" for name in metrics if not known)
    return [*known, *others]


def result_line(status: Status, metrics: Mapping[str, float]) -> str:
    """Returns what a validation measured, after which part of the run, in one line."""
    when = "Untrained"
    if status.iteration and status.epoch is not None and status.epochs is not None:
        when = place("Epoch", status.epoch, status.epochs)
    elif status.iteration:
        when = place("Iteration", status.iteration, status.iterations)
    return f"{when}: {', '.join(in_words(metrics)) or 'no results'}"


def status_of(runner: Runner, validation: tuple[int, int] | None = None) -> Status:
    """Returns the state of a run after an iteration, or in a validation.

    Args:
        runner: The runner, while it trains.
        validation: Batches of the current validation that are done, and all.
    """
    scalars = runner.message_hub.log_scalars
    speed = scalars.get("train/images_per_s")
    # Not the newest values, for which the host would have to wait.
    losses = known_values(scalars["train/loss"]) if "train/loss" in scalars else ()
    seconds = scalars.get("train/time")
    window = runner.log_processor.window_size
    validated = {name: scalars[f"val/{name}"] for name in MEASURED if f"val/{name}" in scalars}
    by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
    # A hook sees the number of an iteration, from 0, until the loop has counted it.
    current = int(validation is None)
    done = runner.iter + current
    return Status(
        iteration=done,
        iterations=runner.max_iters,
        epoch=current_epoch(runner) + current if by_epoch else None,
        epochs=runner.max_epochs if by_epoch else None,
        loss=losses[-window:].mean() if len(losses) else None,
        images_per_s=None if speed is None else speed.current(),
        seconds_left=None if seconds is None else seconds.mean(window) * (runner.max_iters - done),
        validated={name: float(history.current()) for name, history in validated.items()},
        best_knn=float(validated[KNN].max()) if KNN in validated else None,
        validation=validation,
    )


def headlines(runner: Runner) -> list[str]:
    """Returns a run's name, model, data, batch, rate, length and folder, in four lines."""
    model = bare_model(runner)
    backbone = getattr(model, "backbone", model)
    weights = sum(parameter.numel() for parameter in backbone.parameters())
    device = next(backbone.parameters()).device
    name = runner.experiment_name.removesuffix(f"_{runner.timestamp}")
    loader = runner.train_dataloader
    lengths = [f"{runner.max_iters:,} iterations"]
    if not isinstance(runner.train_loop, IterBasedTrainLoop):
        lengths = [f"{runner.max_epochs:,} epochs of {len(loader):,} iterations"]
    if runner.iter:
        lengths.append(f"from iteration {runner.iter:,}")
    log = Path(runner.timestamp, f"{runner.timestamp}.log")
    return [
        f"{name}: {type(model).__name__} of {type(backbone).__name__} "
        f"({weights:,} parameters) on {device}",
        f"{len(loader.dataset):,} images ({type(loader.dataset).__name__}), {', '.join(lengths)}",
        batch_and_rate(runner),
        f"Work dir: {printable(runner.work_dir)}, log in it: {printable(log)}",
    ]
