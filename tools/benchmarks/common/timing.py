"""Times cases in alternating rounds and measures their peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Timing:
    """Seconds of one case, one value per round."""

    seconds: list[float]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        """Shortest round."""
        return min(self.seconds)

    @property
    def slowest(self) -> float:
        """Longest round."""
        return max(self.seconds)

    def ratio_to(self, baseline: Timing) -> float:
        """Returns the median over rounds of this time divided by the baseline's of the same round.

        A change of the machine's speed affects both, so this varies less than a ratio of medians.
        """
        pairs = zip(self.seconds, baseline.seconds, strict=True)
        return statistics.median(own / other for own, other in pairs)


def compare(
    cases: Mapping[str, Callable[[], Any]],
    rounds: int = 5,
    warmup: int = 1,
    device: str | torch.device = "cpu",
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Times cases in alternating rounds, so that a drift of the machine's speed affects all alike.

    Each round runs every case once and starts with the next case in turn.

    Args:
        cases: Functions to time, by name.
        rounds: Number of timed rounds.
        warmup: Number of untimed rounds before them.
        device: Device of the cases; an accelerator is synchronised.
        clock: What tells the seconds on a CPU, by default that on the wall; ``time.process_time``
            counts those of the processor.

    Returns:
        The timing of each case, in the order of ``cases``.

    Raises:
        ValueError: If there is no case or no round.
    """
    if not cases or rounds < 1 or warmup < 0:
        raise ValueError(
            f"compare got {len(cases)} case(s), rounds={rounds}, warmup={warmup}; expected at "
            "least one case, rounds of at least 1 and warmup of at least 0."
        )
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(-warmup, rounds):
        for name in turns(cases, number):
            elapsed = seconds_of(cases[name], device, clock)
            if number >= 0:
                seconds[name].append(elapsed)
    return {name: Timing(values) for name, values in seconds.items()}


def turns(names: Iterable[str], number: int) -> list[str]:
    """Returns the names in the order of a round, each of which starts one name later."""
    names = list(names)
    shift = number % len(names)
    return names[shift:] + names[:shift]


def seconds_of(
    case: Callable[[], Any],
    device: str | torch.device = "cpu",
    clock: Callable[[], float] | None = None,
) -> float:
    """Times one call, on a CPU by a clock, on an accelerator by its events."""
    if torch.device(device).type != "cuda":
        clock = clock or time.perf_counter
        start = clock()
        case()
        return clock() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(device)
    torch.cuda.synchronize(device)
    begin.record(stream)
    case()
    end.record(stream)
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1000


def peak_bytes(case: Callable[[], Any], device: str | torch.device = "cpu") -> int:
    """Measures the peak memory of tensors that a call allocates, in bytes.

    On the CPU torch's profiler reports what its allocator allocates and frees; scratch memory
    of the libraries below it (MKL, oneDNN) is not included.

    Args:
        case: Function to measure; called once.
        device: Device of the case.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        case()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        case()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak
