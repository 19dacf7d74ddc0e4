"""Times the search for nearest neighbours against the matrix product alone.

python tools/benchmarks/knn.py. The baseline is brute force: all similarities in one matrix, and a
selection from it. The limit is the matrix product, in the same blocks, without any selection. The
defaults are a part of ImageNet's 1,281,167 x 50,000, which takes minutes to hours on a CPU; the
time is extrapolated by the number of products. More of the bank makes ours faster per product, not
slower: the longer the search, the fewer similarities are among the best so far.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mmdino.benchmarking.options import benchmark_parser, use_threads
from mmdino.benchmarking.report import draw_bars, print_table, timing_rows, write_json
from mmdino.benchmarking.timing import Timing, compare, peak_bytes
from mmdino.evaluation.knn import (
    BANK_CHUNK,
    QUERY_CHUNK,
    columns_at_once,
    nearest_neighbours,
    unit_rows,
)

TARGET = 1.2
IMAGENET = (1_281_167, 50_000)
BRUTE, OURS, PRODUCT = "brute force, one matrix", "ours", "matrix product alone"
SMOKE = {"bank": 700, "queries": 50, "width": 16, "k": 20, "rounds": 2}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=3)
    parser.add_argument("--bank", type=int, default=160_000, help="features in the bank")
    parser.add_argument("--queries", type=int, default=2048, help="queries")
    parser.add_argument("--width", type=int, default=384, help="width of a feature")
    parser.add_argument("--k", type=int, default=200, help="neighbours")
    parser.add_argument("--no-brute", action="store_true", help="leave out brute force")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_threads(args.threads)
    rows = measure(args)
    print_table(
        rows,
        f"k-NN, {args.queries} queries, bank {args.bank} x {args.width}, k {args.k}, {args.device},"
        f" {torch.get_num_threads()} thread(s). Target of ours: at most {TARGET} x the matrix "
        "product alone, and ImageNet within 4 GiB.",
    )
    if args.json:
        write_json(args.json, "knn", vars(args), {"search": rows}, argv, args.device)
    if args.figure:
        draw_bars(args.figure, rows, "Nearest neighbours")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs the cases and returns a row each."""
    torch.manual_seed(0)
    bank, queries = features(args.bank, args), features(args.queries, args)
    cases: dict[str, Callable[[], Any]] = {
        OURS: lambda: nearest_neighbours(queries, bank, args.k),
        PRODUCT: lambda: product_alone(queries, bank),
    }
    if not args.no_brute:
        cases = {BRUTE: lambda: brute_force(queries, bank, args.k), **cases}
    timings = compare(cases, args.rounds, device=args.device)
    rows = timing_rows(timings, PRODUCT if args.no_brute else BRUTE, PRODUCT)
    for row in rows:
        peak = peak_bytes(cases[row["case"]], args.device)
        row["peak MB"] = peak / 1e6
        row["ImageNet min"] = extrapolated(timings[row["case"]], args) / 60
        row["ImageNet GiB"] = None if row["case"] == PRODUCT else imagenet_bytes(row["case"], args)
    return rows


def features(count: int, args: argparse.Namespace) -> Tensor:
    """Features (N, D) that lie around 1000 centres, as those of a trained network do."""
    centres = torch.randn(1000, args.width)
    noise = torch.randn(count, args.width)
    return (centres[torch.randint(1000, (count,))] + 2 * noise).to(args.device)


def brute_force(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """All similarities at once and the best k of each row."""
    similarities = unit_rows(queries, 0, len(queries)) @ unit_rows(bank, 0, len(bank)).T
    return similarities.topk(k, dim=1)


def product_alone(queries: Tensor, bank: Tensor) -> None:
    """The similarities block by block, each overwritten by the next."""
    step = columns_at_once(queries.device, BANK_CHUNK)
    room = queries.new_empty(QUERY_CHUNK * step)
    for columns in bank.split(step):
        for block in queries.split(QUERY_CHUNK):
            out = room[: len(block) * len(columns)].view(len(block), len(columns))
            torch.mm(block, columns.T, out=out)


def extrapolated(timing: Timing, args: argparse.Namespace) -> float:
    """Seconds of all of ImageNet, by the number of products."""
    bank, queries = IMAGENET
    return timing.median * (bank / args.bank) * (queries / args.queries)


def imagenet_bytes(case: str, args: argparse.Namespace) -> float:
    """GiB that ImageNet needs: the features and what a search holds beside them, in float32."""
    bank, queries = IMAGENET
    held = (bank + queries) * args.width
    if case == BRUTE:
        held += (bank + queries) * args.width + bank * queries
    else:
        # Queries and a part of the bank of length 1, a block, and the best and waiting candidates
        # with their 8-byte indices.
        step = columns_at_once(torch.device(args.device), BANK_CHUNK)
        held += (queries + BANK_CHUNK) * args.width + QUERY_CHUNK * step
        held += queries * args.k * (1 + 2) + queries * args.k // 2 * (1 + 2 + 2)
    return 4 * held / 2**30


if __name__ == "__main__":
    main()
