"""Measures memory and time of the last layer and the loss, forward and backward.

python tools/benchmarks/loss.py. The baseline has torch's weight normalisation and a log-softmax for
each pair of views. The lower bound of the memory is the gradient of the prototypes, that of the
time the three matrix products.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from common.dino_step import DTYPES
from common.options import benchmark_parser, positive, use_machine
from common.plain_step import PlainHead, per_pair_loss
from common.report import draw_lines, print_table, timing_rows, write_json
from common.timing import compare, peak_bytes
from mmdino.models import DINOHead, DINOLoss
from mmdino.utils.tool_errors import run_tool

TARGET = 0.5
PLAIN, UNFUSED, PRODUCTS = "a log-softmax a pair", "ours, chunk None", "matrix products alone"
SMOKE = {"prototypes": 128, "bottleneck": 16, "batch": [4], "views": 4, "chunk": [2], "rounds": 2}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=3)
    parser.add_argument("--prototypes", type=positive, default=65536, help="K")
    parser.add_argument(
        "--bottleneck", type=positive, default=256, help="width before the last layer"
    )
    parser.add_argument(
        "--batch", type=positive, nargs="+", default=[8, 32], help="images per step"
    )
    parser.add_argument("--views", type=positive, default=10, help="V, 2 of them global")
    parser.add_argument(
        "--chunk", type=positive, nargs="+", default=[8, 32], help="images at a time"
    )
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp32", help="of autocast")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_machine(args)
    tables = {}
    for batch in args.batch:
        tables[f"batch {batch}"] = rows = measure(args, batch)
        print_table(
            rows,
            f"Last layer and loss, forward and backward: K {args.prototypes}, {args.views} views, "
            f"batch {batch}, {args.dtype}, {args.device}, {torch.get_num_threads()} thread(s). "
            f"Target of the memory: at most {TARGET} x.",
        )
    if args.json:
        write_json(args.json, "loss", vars(args), tables, argv, args.device)
    if args.figure:
        series: dict[str, list[tuple[float, float]]] = {}
        for batch, rows in zip(args.batch, tables.values(), strict=True):
            for row in rows[:-1]:
                series.setdefault(row["case"], []).append((batch, row["peak MB"]))
        draw_lines(args.figure, series, "images", "peak MB", "Last layer and loss")


def measure(args: argparse.Namespace, batch: int) -> list[dict[str, Any]]:
    """Runs the cases of one batch size and returns a row for each."""
    torch.manual_seed(0)
    head = DINOHead(8, args.prototypes, 1, bottleneck_channels=args.bottleneck).to(args.device)
    shape = (args.views, batch, args.bottleneck)
    features = functional.normalize(torch.randn(shape, device=args.device), dim=-1)
    teacher_logits = 0.1 * torch.randn(2, batch, args.prototypes, device=args.device)
    cases = {PLAIN: plain_case(args, head, features, teacher_logits)}
    for chunk in [None, *args.chunk]:
        name = UNFUSED if chunk is None else f"ours, chunk {chunk}"
        cases[name] = our_case(args, head, features, teacher_logits, chunk)
    products = products_case(args, features)
    timings = compare({**cases, PRODUCTS: products}, args.rounds, device=args.device)
    rows = timing_rows(timings, PLAIN, PRODUCTS)
    peaks = {name: peak_bytes(case, args.device) / 1e6 for name, case in cases.items()}
    for row in rows:
        peak = peaks.get(row["case"])
        row["peak MB"] = peak
        row["memory x baseline"] = None if peak is None else peak / peaks[PLAIN]
    return rows


def plain_case(
    args: argparse.Namespace, head: DINOHead, features: Tensor, teacher_logits: Tensor
) -> Callable[[], None]:
    """Returns the baseline: torch's weight normalisation and the authors' formula."""
    layer = PlainHead(head).last_layer
    center = torch.zeros(1, args.prototypes, device=args.device)

    def run() -> None:
        x = features.clone().requires_grad_()
        with autocast(args):
            logits = layer(x).flatten(0, 1)
        loss = per_pair_loss(logits.float(), teacher_logits.flatten(0, 1), center, args.views)
        loss.backward()
        layer.zero_grad()

    return run


def our_case(
    args: argparse.Namespace,
    head: DINOHead,
    features: Tensor,
    teacher_logits: Tensor,
    chunk: int | None,
) -> Callable[[], None]:
    """Returns our last layer and loss, fused in chunks or, with chunk None, one after the other."""
    layer = head.last_layer
    loss = DINOLoss(args.prototypes, chunk=chunk).to(args.device)

    def run() -> None:
        x = features.clone().requires_grad_()
        with autocast(args):
            logits = layer(x) if chunk is None else layer.lazy(x)
            loss(logits, teacher_logits)["loss"].backward()
        layer.zero_grad()

    return run


def products_case(args: argparse.Namespace, features: Tensor) -> Callable[[], None]:
    """Returns the matrix products of the last layer: one forward, two backward."""
    dtype = DTYPES[args.dtype] or features.dtype
    x = features.flatten(0, 1).to(dtype)
    rows = torch.randn(args.prototypes, args.bottleneck, device=args.device).to(dtype)
    gradient = torch.randn(len(x), args.prototypes, device=args.device).to(dtype)

    def run() -> None:
        x @ rows.T
        gradient.T @ x
        gradient @ rows

    return run


def autocast(args: argparse.Namespace) -> torch.autocast:
    """Returns the autocast context of the arguments."""
    dtype = DTYPES[args.dtype]
    return torch.autocast(torch.device(args.device).type, dtype=dtype, enabled=dtype is not None)


if __name__ == "__main__":
    run_tool(main)
