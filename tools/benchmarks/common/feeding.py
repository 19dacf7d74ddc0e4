"""Training on what a loader delivers: how fast, and who waits for whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Feeding:
    """What came out of some steps on delivered batches.

    Attributes:
        steps: Number of steps.
        seconds: From before the first to after the last one, the device's work included.
        busy: Share of this time in which a step was under way on the device, the copy of its batch
            and gaps between its kernels included.
        waiting: Share of this time in which the process waited for a batch. On an accelerator the
            device may still be computing meanwhile.
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

    An accelerator is waited for at the two ends of that time alone, as in training.

    Args:
        batches: A loader, or what else gives batches and does not end. Its workers are started
            here; they end with the last reference to it.
        step: What is done with a batch.
        seconds: About how long to measure.
        warmup: Steps before that.
        period: The number of measured steps is a multiple of this one. That of the workers lets
            each of them make the same number of batches, which arrive in bursts otherwise.
        device: Where the step computes.
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
    """Adds up the time of steps that are done when they return."""

    total: float = 0.0

    def run(self, step: Callable[[Any], Any], batch: Any) -> None:
        start = time.perf_counter()
        step(batch)
        self.total += time.perf_counter() - start

    def wait(self) -> None:
        """Nothing is under way."""

    def seconds(self) -> float:
        return self.total


@dataclass
class _StreamWatch:
    """Adds up the time of steps on a CUDA stream, by events that nobody waits for meanwhile."""

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
