"""What a comparison shows while it trains: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mmdino.comparison.plan import Run
from mmdino.utils.progress import place

SECONDS_BETWEEN_LINES = 60.0
SPEED_PERIOD = 900.0
"""Seconds that the time left is estimated from; runs log every few seconds or minutes."""


class Progress:
    """Shows how far all runs together, and those that are being trained, are.

    Args:
        runs: All runs.
        trained: How many of them were trained before.
        stream: Where to write; by default standard output.
    """

    def __init__(
        self, runs: Sequence[Run], trained: Sequence[Run], stream: IO | None = None
    ) -> None:
        self._stream = stream or sys.stdout
        self._runs = len(runs)
        self._ended = len(trained)
        self._done = {str(run): run.method.iterations for run in trained}
        self._total = sum(run.method.iterations for run in runs)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._bars: Bars | None = None
        if self._stream.isatty():
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[place]}"),
                TimeRemainingColumn(),
                console=Console(file=self._stream),
                speed_estimate_period=SPEED_PERIOD,
                refresh_per_second=2,
            )
            self._all = self._bars.add_task(
                self._headline, total=self._total, completed=sum(self._done.values()), place=""
            )

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    @property
    def _headline(self) -> str:
        return f"{self._ended} of {self._runs} runs done"

    def say(self, text: str) -> None:
        """Prints a line, above the bars where there are some."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def started(self, run: Run, iteration: int) -> None:
        """Notes that the training of a run has started, from an iteration."""
        start = f"resumes from iteration {iteration:,}" if iteration else "starts"
        self.say(f"[{self._headline}] {run}: {start} of {run.method.iterations:,} iterations")
        self._done[str(run)] = iteration
        self._said[str(run)] = time.monotonic()
        if self._bars is not None:
            self._tasks[str(run)] = self._bars.add_task(
                str(run), total=run.method.iterations, completed=iteration, place=""
            )

    def trained(self, run: Run, iteration: int) -> None:
        """Notes how far the training of a run is."""
        if iteration > self._done[str(run)]:
            self._done[str(run)] = iteration
        where = place_of(run, self._done[str(run)])
        if self._bars is not None:
            done = self._done[str(run)]
            self._bars.update(self._tasks[str(run)], completed=done, place=where)
            self._bars.update(self._all, completed=sum(self._done.values()))
        elif time.monotonic() - self._said[str(run)] > SECONDS_BETWEEN_LINES:
            self._said[str(run)] = time.monotonic()
            fraction = sum(self._done.values()) / self._total
            self.say(f"[{self._headline}, {fraction:.0%}] {run}: {where}")

    def finished(self, run: Run, seconds: float, error: str = "") -> None:
        """Notes how a run ended."""
        self._ended += 1
        self._done[str(run)] = run.method.iterations
        if self._bars is not None:
            self._bars.remove_task(self._tasks.pop(str(run)))
            done = sum(self._done.values())
            self._bars.update(self._all, completed=done, description=self._headline)
        how = f"failed: {error}" if error else f"trained in {clock(seconds)}"
        self.say(f"[{self._headline}] {run}: {how}")


def place_of(run: Run, iteration: int) -> str:
    """Returns the epoch and the iteration that a run is in, in words."""
    method = run.method
    epoch = min(iteration // method.iterations_per_epoch + 1, method.epochs)
    return (
        f"{place('epoch', epoch, method.epochs)}, "
        f"{place('iteration', iteration, method.iterations)}"
    )


def clock(seconds: float) -> str:
    """Returns seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
