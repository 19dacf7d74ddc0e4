"""Times cases side by side and measures their peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Timing:
    """Seconds of one case, a figure a round, in the order of the rounds."""

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
        """Median over the rounds of this time over the baseline's of the same round.

        A machine that slows down half-way slows both, so this moves less than a ratio of medians.
        """
        pairs = zip(self.seconds, baseline.seconds, strict=True)
        return statistics.median(own / other for own, other in pairs)


def compare(
    cases: Mapping[str, Callable[[], Any]],
    rounds: int = 5,
    warmup: int = 1,
    device: str | torch.device = "cpu",
) -> dict[str, Timing]:
    """Times cases in alternating rounds, so that a drift of the machine's speed hits all alike.

    Each round runs every case once; which of them begins moves on by one each round.

    Args:
        cases: What to time, by name.
        rounds: Number of timed rounds.
        warmup: Number of rounds before them that do not count.
        device: Where the cases compute; work on an accelerator is waited for.

    Returns:
        The timing of each case, in the order of ``cases``.

    Raises:
        ValueError: If there is no case or no round.
    """
    if not cases or rounds < 1 or warmup < 0:
        raise ValueError(
            f"compare got {len(cases)} case(s), rounds={rounds}, warmup={warmup}; it needs at "
            "least one case and one round."
        )
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(-warmup, rounds):
        for name in turns(cases, number):
            elapsed = seconds_of(cases[name], device)
            if number >= 0:
                seconds[name].append(elapsed)
    return {name: Timing(values) for name, values in seconds.items()}


def turns(names: Iterable[str], number: int) -> list[str]:
    """Returns the names in the order of a round: which of them begins moves on by one each."""
    names = list(names)
    shift = number % len(names)
    return names[shift:] + names[:shift]


def seconds_of(case: Callable[[], Any], device: str | torch.device = "cpu") -> float:
    """Times one call, by the accelerator's own events where there is one."""
    if torch.device(device).type != "cuda":
        start = time.perf_counter()
        case()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(device)
    torch.cuda.synchronize(device)
    begin.record(stream)
    case()
    end.record(stream)
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1000


def peak_bytes(case: Callable[[], Any], device: str | torch.device = "cpu") -> int:
    """Measures the largest sum of tensors that a call holds beyond what was there before it.

    On the CPU torch's profiler reports what its allocator hands out and takes back; scratch memory
    of the libraries below it (MKL, oneDNN) is not in it.

    Args:
        case: What to measure; run once.
        device: Where it computes.
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
