"""The results of runs as numbers: one row a run, and a summary over the seeds of a method."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmdino.comparison.log import RunLog, read_log
from mmdino.comparison.plan import Run
from mmdino.comparison.record import Record
from mmdino.visualization.comparison_figure import ComparedRun

BEST_K = "knn/top1"
OF_K = re.compile(r"knn/k(\d+)_top1")
NUMBERS = (
    "linear_top1",
    "elapsed_s",
    "processor_s",
    "memory_mib",
    "cuda_memory_mib",
    "images_per_s",
    "parameters",
)
"""Columns of a row, beside those of k-NN, that have a mean over seeds."""


class Spread(NamedTuple):
    """Mean and deviation over the seeds of a method."""

    mean: float
    deviation: float | None
    """Sample standard deviation; None for fewer than two seeds."""


@dataclass(frozen=True)
class Result:
    """A run with its record and its log.

    Attributes:
        run: The run.
        record: Its record.
        log: Its log.
        strengths: Those of the linear probes that count, as ``tools/compare.py --linear-c``
            gives them.
        probes: Whether linear probes are asked for; else what was measured before counts.
    """

    run: Run
    record: Record
    log: RunLog
    strengths: Sequence[float] | None = None
    probes: bool = True

    @property
    def is_trained(self) -> bool:
        """Whether it has been trained to its end."""
        return self.record.state == "trained"

    @property
    def knn(self) -> dict[str, float]:
        """Top-1 accuracies in percent of the last validation; ``knn_top1`` has the best k."""
        if not self.log.validation:
            return {}
        last = self.log.validation[max(self.log.validation)]
        names = {BEST_K: "knn_top1"}
        names |= {n: f"knn_k{m[1]}_top1" for n in last if (m := OF_K.fullmatch(n))}
        return {column: last[name] for name, column in names.items() if name in last}

    @property
    def linear(self) -> dict[str, object]:
        """What the linear probe has measured; nothing if it chose from other strengths."""
        measured = self.record.measured
        if self.probes and measured.get("linear_strengths") != self.strengths:
            return {}
        return {name: measured.get(name) for name in ("linear_top1", "linear_c")}

    @property
    def row(self) -> dict[str, object]:
        """What ``comparison.csv`` has of it; None where there is no value."""
        method, record, usage = self.run.method, self.record, self.record.usage
        return {
            "run": method.name,
            "seed": self.run.seed,
            "state": record.state,
            **self.knn,
            "knn_highest_top1": max(
                (v[BEST_K] for v in self.log.validation.values() if BEST_K in v), default=None
            ),
            "linear_top1": self.linear.get("linear_top1"),
            "linear_c": self.linear.get("linear_c"),
            "epochs": method.epochs,
            "images": method.images,
            "optimizer_steps": method.optimizer_steps,
            "parameters": record.measured.get("parameters"),
            "images_per_s": self._images_per_s(),
            "elapsed_s": usage.elapsed_s,
            "processor_s": usage.processor_s,
            "memory_mib": usage.memory_mib,
            "cuda_memory_mib": max(
                (v["memory"] for v in self.log.training.values() if "memory" in v), default=None
            ),
            "starts": len(record.attempts),
            "config": method.config,
            "options": " ".join(self.run.options),
            "checkpoint": record.measured.get("checkpoint"),
            "machine": record.machine,
            "error": record.error.partition("\n")[0],
        }

    def _images_per_s(self) -> float | None:
        """Images per second of training, without validations and checkpoints."""
        seconds = [values["time"] for values in self.log.training.values() if "time" in values]
        # The first are slow: memory is allocated, workers start.
        seconds = seconds[1:] or seconds
        if not seconds:
            return None
        method = self.run.method
        return method.images_per_epoch / method.iterations_per_epoch / float(np.mean(seconds))

    def curves(self, metrics: Sequence[str] = ()) -> ComparedRun:
        """Returns what figures show of it.

        Processor time at a validation is a fraction of that of the whole run, by iterations.

        Args:
            metrics: Names of logged values of training, such as ``kl``.
        """
        method = self.run.method
        epochs = [epoch for epoch, values in self.log.validation.items() if BEST_K in values]
        done = [epoch * method.iterations_per_epoch for epoch in epochs]
        per_iteration = self.record.usage.processor_s / self._last_iteration()
        logged = {
            name: np.array(
                [
                    (iteration / method.iterations_per_epoch, values[name])
                    for iteration, values in self.log.training.items()
                    if name in values
                ]
            ).reshape(-1, 2)
            for name in metrics
        }
        return ComparedRun(
            name=method.name,
            seed=self.run.seed,
            images=[method.images_at(iteration) for iteration in done],
            processor_s=[iteration * per_iteration for iteration in done],
            top1=[self.log.validation[epoch][BEST_K] for epoch in epochs],
            logged=logged,
            entropy_bound=next(
                (v["entropy_bound"] for v in self.log.training.values() if "entropy_bound" in v),
                None,
            ),
        )

    def curve_rows(self, metrics: Sequence[str] = ()) -> list[dict[str, object]]:
        """Returns the rows of ``curves.csv``: every validation, and logged values of training."""
        method, name = self.run.method, {"run": self.run.method.name, "seed": self.run.seed}
        per_iteration = self.record.usage.processor_s / self._last_iteration()
        points = [
            (epoch * method.iterations_per_epoch, metric, value)
            for epoch, values in self.log.validation.items()
            for metric, value in values.items()
            if metric.startswith("knn/")
        ]
        points += [
            (iteration, metric, values[metric])
            for metric in metrics
            for iteration, values in self.log.training.items()
            if metric in values
        ]
        return [
            {
                **name,
                "epoch": iteration / method.iterations_per_epoch,
                "iteration": iteration,
                "images": method.images_at(iteration),
                "processor_s": iteration * per_iteration,
                "metric": metric,
                "value": value,
            }
            for iteration, metric, value in points
        ]

    def _last_iteration(self) -> int:
        if self.is_trained:
            return self.run.method.iterations
        return max(self.log.training, default=1)


def read_results(
    records: Sequence[tuple[Run, Record]],
    strengths: Sequence[float] | None = None,
    probes: bool = True,
) -> list[Result]:
    """Reads the logs of all runs.

    Args:
        records: The runs and their records.
        strengths: Those of the linear probes that count; a probe of others is left out.
        probes: Whether linear probes are asked for; else what was measured before counts.
    """
    logs = ((run, record, read_log(run.folder)) for run, record in records)
    return [Result(*found, strengths, probes) for found in logs]


@dataclass(frozen=True)
class Summary:
    """A method over its seeds.

    Attributes:
        name: Name of the method.
        trained: Runs that were trained to their end; only they count.
        failed: Runs that failed.
        waiting: Runs that have not come to their end.
        values: Mean and deviation of each column of numbers that a trained run has.
        epochs: Epochs of a run.
        images: Images seen in a run.
        steps: Optimiser steps of a run.
    """

    name: str
    trained: int
    failed: int
    waiting: int
    values: dict[str, Spread]
    epochs: int
    images: int
    steps: int

    @property
    def top1(self) -> float:
        """What summaries are sorted by: mean k-NN accuracy of the best k; -inf if none is known."""
        return self.values["knn_top1"].mean if "knn_top1" in self.values else -math.inf


def summaries(results: Sequence[Result]) -> list[Summary]:
    """Returns the summaries of all methods, best first."""
    names = dict.fromkeys(result.run.method.name for result in results)
    found = [_summary([r for r in results if r.run.method.name == name]) for name in names]
    return sorted(found, key=lambda summary: summary.top1, reverse=True)


def _summary(results: Sequence[Result]) -> Summary:
    rows = [result.row for result in results if result.is_trained]
    columns = [*dict.fromkeys(name for row in rows for name in row if name.startswith("knn_"))]
    values = {
        column: _spread([row[column] for row in rows if row.get(column) is not None])
        for column in (*columns, *NUMBERS)
    }
    failed = sum(result.record.state == "failed" for result in results)
    method = results[0].run.method
    return Summary(
        name=method.name,
        trained=len(rows),
        failed=failed,
        waiting=len(results) - len(rows) - failed,
        values={column: spread for column, spread in values.items() if spread is not None},
        epochs=method.epochs,
        images=method.images,
        steps=method.optimizer_steps,
    )


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(float(np.mean(values)), deviation)
