"""What the benchmarks share: timing side by side, peak memory, tables, files and figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from mmdino.whole_file import whole_file


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
    names = list(cases)
    for number in range(-warmup, rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            elapsed = seconds_of(cases[name], device)
            if number >= 0:
                seconds[name].append(elapsed)
    return {name: Timing(values) for name, values in seconds.items()}


def seconds_of(case: Callable[[], Any], device: str | torch.device = "cpu") -> float:
    """Times one call, by the accelerator's own events where there is one."""
    if torch.device(device).type != "cuda":
        start = time.perf_counter()
        case()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    begin.record()
    case()
    end.record()
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


def timing_rows(
    timings: Mapping[str, Timing], baseline: str, limit: str | None = None, images: int = 0
) -> list[dict[str, Any]]:
    """Makes a table of timings.

    Args:
        timings: What :func:`compare` returns.
        baseline: Case that the times are divided by.
        limit: Case that the hardware cannot go below, if there is one.
        images: Images that a call handles, for a column of images/s; 0 for none.

    Returns:
        A row a case.
    """
    rows = []
    for name, timing in timings.items():
        row: dict[str, Any] = {
            "case": name,
            "median s": timing.median,
            "min s": timing.fastest,
            "max s": timing.slowest,
        }
        if images:
            row["images/s"] = images / timing.median
        row["x baseline"] = timing.ratio_to(timings[baseline])
        if limit is not None:
            row["x limit"] = timing.ratio_to(timings[limit])
        rows.append(row)
    return rows


def print_table(rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Prints rows, which have the same keys, as a Markdown table with these as its head."""
    if title:
        print(f"\n{title}\n")
    head = list(rows[0])
    cells = [head, *([_cell(row[name]) for name in head] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(head))]
    numbers = [not isinstance(rows[0][name], str) for name in head]
    for index, line in enumerate(cells):
        padded = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numbers, strict=True)
        ]
        print(f"| {' | '.join(padded)} |")
        if index == 0:
            rules = [
                "-" * (w - 1) + (":" if n else "-") for w, n in zip(widths, numbers, strict=True)
            ]
            print(f"| {' | '.join(rules)} |")
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "" if value is None else str(value)


def machine(device: str | torch.device = "cpu") -> dict[str, Any]:
    """Describes what the figures were measured on."""
    device = torch.device(device)
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "accelerator": accelerator,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write_json(
    path: str | Path,
    benchmark: str,
    settings: Mapping[str, Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    argv: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
) -> None:
    """Writes figures with all that is needed to judge them; the file is whole or not there.

    Args:
        path: Path of the file.
        benchmark: Name of the benchmark.
        settings: What was measured: sizes, types, rounds.
        tables: Rows by the name of their table, as :func:`print_table` takes them.
        argv: Arguments of the command line; by default those of the process.
        device: Where the cases computed.
    """
    arguments = sys.argv[1:] if argv is None else argv
    content = {
        "benchmark": benchmark,
        "command": shlex.join(["python", f"tools/benchmarks/{benchmark}.py", *arguments]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(device),
        "settings": dict(settings),
        "tables": {name: [dict(row) for row in rows] for name, rows in tables.items()},
    }
    with whole_file(Path(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def draw_lines(
    path: str | Path,
    series: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    title: str = "",
) -> None:
    """Draws a line a case through its points (x, y); the file is whole or not there."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label, title=title)
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def draw_bars(path: str | Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Draws the rows of :func:`timing_rows`: medians, with a stroke from fastest to slowest."""
    figure = Figure(figsize=(7, 1 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot(xlabel="seconds", title=title)
    medians = [row["median s"] for row in rows]
    below = [row["median s"] - row["min s"] for row in rows]
    above = [row["max s"] - row["median s"] for row in rows]
    axes.barh([row["case"] for row in rows], medians, xerr=(below, above), capsize=3)
    axes.invert_yaxis()
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    with whole_file(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120)


def benchmark_parser(description: str, rounds: int = 5) -> argparse.ArgumentParser:
    """Returns a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds")
    parser.add_argument("--threads", type=int, help="threads of torch; by default as they are")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", help="file that the figures are written to")
    parser.add_argument("--figure", help="picture that is drawn")
    return parser


def use_threads(threads: int | None) -> None:
    """Sets the threads of torch, if a number is given.

    Raises:
        ValueError: If it is below 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise ValueError(f"--threads {threads} came; it must be at least 1.")
    torch.set_num_threads(threads)
