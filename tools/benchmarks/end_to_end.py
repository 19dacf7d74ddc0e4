"""Measures training from image files: loader, step, and which of the two is the bottleneck.

python tools/benchmarks/end_to_end.py --images DIR --device cuda --dtype bf16 trains on the
batches of a loader, once with this project's views and once with the paper's, made by Pillow and
torchvision and normalised on the CPU, with the same network and step. For comparison it runs the
step alone, on a batch in memory, and the loader alone. The smaller of these two rates is the limit.

One loader runs at a time: its workers start before a measurement and end after it. The files are
read repeatedly, so they come from the page cache and not from a disk.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product, repeat
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from mmengine.registry import init_default_scope

from common.dino_step import DTYPES, build_dino, dino_step
from common.feeding import Feeding, feed
from common.options import (
    SMOKE_MODEL,
    add_model_options,
    benchmark_parser,
    use_machine,
)
from common.report import draw_lines, print_table, write_json
from common.timing import Timing, turns
from common.view_chains import OURS, PILLOW
from common.view_loader import draw_photographs, list_photographs, view_loader
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, parse_view_groups
from mmdino.models import DINO
from mmdino.utils.tool_errors import run_tool

SPEED_TARGET, BUSY_TARGET = 3.0, 0.9
STEP_ALONE = "step alone"
VIEWS_ALONE = {chain: f"views alone, {chain}" for chain in (OURS, PILLOW)}
PREPROCESSORS = {
    OURS: None,
    # Its views are normalised already, with the channels in RGB order.
    PILLOW: {"mean": (0.0,) * 3, "std": (1.0,) * 3, "bgr_to_rgb": False},
}
SMOKE = {**SMOKE_MODEL, "batch": [2], "workers": [1], "rounds": 2, "seconds": 0.1}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=3)
    parser.add_argument(
        "--images", default="data/imagenet_sample", help="folder of photographs, of ImageNet's size"
    )
    add_model_options(parser)
    parser.add_argument("--batch", type=int, nargs="+", default=[128], help="images per step")
    parser.add_argument("--workers", type=int, nargs="+", default=[16], help="worker processes")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds per case and round")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints, writes and draws.

    Raises:
        FileNotFoundError: If there are no photographs.
        ValueError: If a number is too small, the device cannot be used, or both batch size and
            workers vary in a figure.
    """
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_machine(args)
    check(args)
    # Workers are forked, which OpenCV's thread pool does not survive.
    cv2.setNumThreads(1)
    init_default_scope("mmpretrain")
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:
            draw_photographs(Path(folder))
        photographs = [
            str(path) for path in list_photographs(folder if args.smoke else args.images)
        ]
        steps = {chain: training(build(args, chain), args.dtype) for chain in PREPROCESSORS}
        tables = {}
        for batch, workers in product(sorted({*args.batch}), sorted({*args.workers})):
            rows = measure(args, photographs, steps, batch, workers)
            tables[batch, workers] = rows
            print_table(rows, title(args, len(photographs), batch, workers))
    if args.json:
        named = {
            f"batch {batch}, {workers} worker(s)": rows for (batch, workers), rows in tables.items()
        }
        settings = {**vars(args), "photographs": len(photographs)}
        write_json(args.json, "end_to_end", settings, named, argv, args.device)
    if args.figure:
        draw(args, tables)


def check(args: argparse.Namespace) -> None:
    """Checks the arguments before anything is measured."""
    if min([args.rounds, *args.batch, *args.workers]) < 1 or not 0 < args.seconds < math.inf:
        raise ValueError(
            f"invalid --batch {args.batch}, --workers {args.workers}, --rounds {args.rounds} or "
            f"--seconds {args.seconds}: expected batch, workers and rounds of at least 1 and "
            "seconds above 0."
        )
    if args.figure and len({*args.batch}) > 1 and len({*args.workers}) > 1:
        raise ValueError(
            f"--figure draws images/s over workers or over batch sizes, not both, but got --batch "
            f"{args.batch} and --workers {args.workers}. Give one value for one of them, or no "
            "--figure."
        )
    parse_view_groups(view_groups(args))


def view_groups(args: argparse.Namespace) -> list[dict]:
    """Returns the paper's view groups in the sizes and number of the arguments."""
    *global_groups, local_group = PAPER_VIEWS
    groups = [{**group, "size": args.global_size} for group in global_groups]
    if args.locals:
        groups.append({**local_group, "size": args.local_size, "num": args.locals})
    return groups


def build(args: argparse.Namespace, chain: str) -> DINO:
    """Builds the network that trains on the views of a chain, with the same weights for all."""
    torch.manual_seed(0)
    sizes = args.arch, args.patch, args.global_size, args.prototypes, args.device
    return build_dino(*sizes, data_preprocessor=PREPROCESSORS[chain])


def training(model: DINO, dtype: str) -> Callable[[Mapping[str, Any]], None]:
    """Returns a function that trains on a batch of a loader."""
    step = dino_step(model, DTYPES[dtype])
    return lambda batch: step(**batch)


def title(args: argparse.Namespace, photographs: int, batch: int, workers: int) -> str:
    """Returns the title of a table: what it shows, and the targets."""
    return (
        f"End to end, {args.arch} patch {args.patch}, K {args.prototypes}, batch {batch}, "
        f"{workers} worker(s), {args.dtype}, {args.device}, {torch.get_num_threads()} thread(s), "
        f"{photographs} photographs. Ratios of images/s. Targets of {OURS}: at least "
        f"{SPEED_TARGET:g} x {PILLOW} with the same step, busy above {BUSY_TARGET:g}."
    )


def measure(
    args: argparse.Namespace,
    photographs: Sequence[str],
    steps: Mapping[str, Callable[[Mapping[str, Any]], None]],
    batch: int,
    workers: int,
) -> list[dict[str, Any]]:
    """Runs the cases with one batch size and number of workers; returns a row for each."""
    load = partial(
        view_loader,
        photographs,
        batch_size=batch,
        views=view_groups(args),
        pin_memory=torch.device(args.device).type == "cuda",
    )
    ready = next(iter(load(OURS, workers=1)))
    for step in steps.values():
        # The first step allocates the optimiser's state and chooses kernels.
        step(ready)

    def run(chain: str, step: Callable[[Mapping[str, Any]], None]) -> Feeding:
        # The loader prefetches 2 batches per worker.
        warmup = 2 * workers
        loader = load(chain, workers=workers)
        return feed(loader, step, args.seconds, warmup, period=workers, device=args.device)

    cases: dict[str, Callable[[], Feeding]] = {
        OURS: partial(run, OURS, steps[OURS]),
        PILLOW: partial(run, PILLOW, steps[PILLOW]),
        STEP_ALONE: lambda: feed(repeat(ready), steps[OURS], args.seconds, 1, device=args.device),
        **{name: partial(run, chain, lambda batch: None) for chain, name in VIEWS_ALONE.items()},
    }
    runs: dict[str, list[Feeding]] = {name: [] for name in cases}
    for number in range(args.rounds):
        for name in turns(cases, number):
            print(f"round {number + 1} of {args.rounds}: {name}", file=sys.stderr, flush=True)
            runs[name].append(cases[name]())
    return table(runs, batch)


def table(runs: Mapping[str, Sequence[Feeding]], batch: int) -> list[dict[str, Any]]:
    """Returns a row per case: images/s, ratios, fractions of time; None where not applicable."""
    times = {
        name: Timing([run.seconds / (run.steps * batch) for run in case])
        for name, case in runs.items()
    }
    rows = []
    for name, time in times.items():
        trained = name in VIEWS_ALONE
        row = {
            "case": name,
            "images/s": 1 / time.median,
            "min": 1 / time.slowest,
            "max": 1 / time.fastest,
            "x baseline": times[PILLOW].ratio_to(time),
            "x limit": limit(times, name).ratio_to(time) if trained else None,
            "busy": median(run.busy for run in runs[name]),
            "waiting": median(run.waiting for run in runs[name]) if trained else None,
        }
        rows.append({**row, "busy": row["busy"] if trained or name == STEP_ALONE else None})
    return rows


def limit(times: Mapping[str, Timing], chain: str) -> Timing:
    """Returns the time per image of the slower of step and views, in each round."""
    parts = times[STEP_ALONE].seconds, times[VIEWS_ALONE[chain]].seconds
    return Timing([max(pair) for pair in zip(*parts, strict=True)])


def draw(
    args: argparse.Namespace, tables: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]]
) -> None:
    """Draws images/s over the batch size if there are several, else over the workers."""
    over_batch = len({*args.batch}) > 1
    points: dict[str, list[tuple[float, float]]] = {}
    for (batch, workers), rows in tables.items():
        for row in rows:
            place = batch if over_batch else workers
            points.setdefault(row["case"], []).append((place, row["images/s"]))
    fixed = f"{args.workers[0]} worker(s)" if over_batch else f"batch {args.batch[0]}"
    draw_lines(
        args.figure,
        {chain: points[chain] for chain in VIEWS_ALONE},
        "images per step" if over_batch else "workers",
        "images/s",
        f"Training end to end, {fixed}, {args.dtype}, {args.device}",
        {name: points[name] for name in points if name not in VIEWS_ALONE},
    )


if __name__ == "__main__":
    run_tool(main)
