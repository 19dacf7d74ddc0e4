"""Measures the images/s that one core turns into views, compared with the usual chains.

python tools/benchmarks/pipeline.py --images DIR. With --workers 1 2 4 it also measures how
images/s grow with the workers of a data loader, and --figure draws that.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.registry import init_default_scope

from common.options import benchmark_parser
from common.report import draw_bars, draw_lines, print_table, timing_rows, write_json
from common.timing import Timing, compare
from common.view_chains import (
    ALBUMENTATIONS,
    LIMIT,
    OURS,
    PILLOW,
    SEQUENTIAL,
    chains,
    one_thread,
)
from common.view_loader import draw_photographs, list_photographs, view_loader
from mmdino.datasets.transforms.views.group import PAPER_VIEWS
from mmdino.utils.tool_errors import run_tool

TARGETS = {PILLOW: 6.0, ALBUMENTATIONS: 1.15}


def target_rows(timings: dict[str, Timing]) -> list[dict[str, Any]]:
    """Compares the speed of our chains with the targets."""
    rows = []
    for chain in (OURS, SEQUENTIAL):
        for baseline, target in TARGETS.items():
            if baseline in timings:
                times_as_fast = 1 / timings[chain].ratio_to(timings[baseline])
                reached = "yes" if times_as_fast >= target else "no"
                row = {"chain": chain, "speed against": baseline, "measured": times_as_fast}
                rows.append({**row, "target": target, "reached": reached})
        fraction = 1 / timings[chain].ratio_to(timings[LIMIT])
        row = {"chain": chain, "speed against": LIMIT, "measured": fraction}
        rows.append({**row, "target": 1.0, "reached": "limit"})
    return rows


def images_per_second(paths: Sequence[str], chain: str, workers: int, seconds: float) -> float:
    """Measures a data loader after its first batches, when all workers are running.

    Args:
        paths: Image files.
        chain: Name of the chain that makes the views.
        workers: Number of worker processes.
        seconds: Least time to measure.
    """
    batch_size = 16
    batches: Iterator = iter(view_loader(paths, chain, batch_size, workers))
    # The first batches are made while the workers start.
    for _ in range(2 * workers):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += batch_size
    rate = count / (time.perf_counter() - start)
    del batches
    return rate


def worker_rows(
    paths: Sequence[str], workers: Iterable[int], seconds: float
) -> list[dict[str, Any]]:
    """Measures images/s for each number of workers."""
    rows = []
    for number in workers:
        row: dict[str, Any] = {"workers": number}
        for chain in (OURS, PILLOW):
            row[chain] = images_per_second(paths, chain, number, seconds)
        row["x baseline"] = row[OURS] / row[PILLOW]
        rows.append(row)
    return rows


def run_all(make: Callable[[str], Any], paths: Sequence[str]) -> None:
    """Makes the views of each photograph."""
    for path in paths:
        make(path)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints, writes and draws.

    Raises:
        FileNotFoundError: If there are no photographs.
        ValueError: If a number is below 1.
    """
    parser = benchmark_parser(__doc__, rounds=10, computes=False)
    parser.add_argument(
        "--images", default="data/imagenet_sample", help="folder of photographs, of ImageNet's size"
    )
    parser.add_argument("--count", type=int, default=32, help="photographs per round")
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="numbers of workers")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds per number of workers")
    args = parser.parse_args(argv)
    if min([args.count, *args.workers]) < 1 or not 0 < args.seconds < math.inf:
        raise ValueError(
            f"invalid --count {args.count}, --workers {args.workers} or --seconds {args.seconds}: "
            "expected values above 0."
        )
    init_default_scope("mmpretrain")
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:
            draw_photographs(Path(folder))
            args.images, args.rounds, args.seconds = folder, min(args.rounds, 2), 0.1
        measure(args, argv)


def measure(args: argparse.Namespace, argv: Sequence[str] | None) -> None:
    """Measures with the photographs of a folder; prints, draws and writes the results."""
    files = [str(path) for path in list_photographs(args.images)]
    # Spread over the folder, which may be sorted by class.
    paths = files[:: max(1, len(files) // args.count)][: args.count]
    cases = {name: partial(run_all, make, paths) for name, make in chains().items()}
    timings = compare(cases, args.rounds)
    tables = {
        "images": timing_rows(timings, PILLOW, LIMIT, len(paths)),
        "targets": target_rows(timings),
    }
    print_table(tables["images"], f"{len(paths)} photographs per round, one thread")
    print_table(tables["targets"], "Speed compared")
    if ALBUMENTATIONS not in timings:
        print("\nAlbumentations is not installed and was skipped.")
    if args.workers:
        tables["workers"] = worker_rows(files, args.workers, args.seconds)
        print_table(tables["workers"], "Images/s of a data loader")
    if args.figure and not args.workers:
        draw_bars(args.figure, tables["images"], f"Views of {len(paths)} photographs")
    elif args.figure:
        series = {
            chain: [(row["workers"], row[chain]) for row in tables["workers"]]
            for chain in (OURS, PILLOW)
        }
        draw_lines(args.figure, series, "workers", "images/s", "Views of photographs")
    if args.json:
        settings = {**vars(args), "photographs": len(paths), "views": list(PAPER_VIEWS)}
        write_json(args.json, "pipeline", settings, tables, argv)


if __name__ == "__main__":
    run_tool(main)
