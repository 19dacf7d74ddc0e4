"""Throughput of training on the batches of a loader, and which of the two waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Feeding:
    """Measurements of steps on the batches of a loader.

    Attributes:
        steps: Number of steps.
        seconds: From before the first step to the end of the last one on the device.
        busy: Fraction of this time in which a step was running on the device, including the copy
            of its batch and gaps between its kernels.
        waiting: Fraction of this time in which the process waited for a batch. An accelerator may
            still be computing meanwhile.
    """

    steps: int
    seconds: float
    busy: float
    waiting: float


def feed(
    batches: Iterable[Any],
    step: Callable[[Any], Any],
    seconds: float,
    warmup: int = 0,
    period: int = 1,
    device: str | torch.device = "cpu",
) -> Feeding:
    """Runs a step on batch after batch for some time.

    An accelerator is synchronised only before and after the measured steps, as in training.

    Args:
        batches: A loader, or any other endless iterable of batches. Its workers are started here;
            they end with the last reference to it.
        step: Called with each batch.
        seconds: Least time to measure.
        warmup: Steps before the measurement.
        period: The number of measured steps is a multiple of this. With the number of workers each
            of them makes the same number of batches, which arrive in bursts.
        device: Device of the step.
    """
    delivered = iter(batches)
    for _ in range(warmup):
        step(next(delivered))
    watch = _StreamWatch(device) if torch.device(device).type == "cuda" else _HostWatch()
    steps, waiting = 0, 0.0
    watch.wait()
    start = time.perf_counter()
    while steps % period or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        batch = next(delivered)
        waiting += time.perf_counter() - before
        watch.run(step, batch)
        steps += 1
    watch.wait()
    elapsed = time.perf_counter() - start
    return Feeding(steps, elapsed, watch.seconds() / elapsed, waiting / elapsed)


@dataclass
class _HostWatch:
    """Adds up the time of steps that have finished when they return."""

    total: float = 0.0

    def run(self, step: Callable[[Any], Any], batch: Any) -> None:
        start = time.perf_counter()
        step(batch)
        self.total += time.perf_counter() - start

    def wait(self) -> None:
        """Does nothing: no work is pending."""

    def seconds(self) -> float:
        return self.total


@dataclass
class _StreamWatch:
    """Adds up the time of steps on a CUDA stream by events, without synchronising in between."""

    device: str | torch.device
    events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)

    def run(self, step: Callable[[Any], Any], batch: Any) -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(self.device)
        begin.record(stream)
        step(batch)
        end.record(stream)
        self.events.append((begin, end))

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)

    def seconds(self) -> float:
        return sum(begin.elapsed_time(end) for begin, end in self.events) / 1000
