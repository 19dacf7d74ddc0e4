"""Times the nearest-neighbour search against the matrix product alone.

python tools/benchmarks/knn.py. The baseline is brute force: all similarities in one matrix, then
top-k. The limit is the matrix product, in the same blocks, without any selection. ImageNet has
50,000 queries for its bank of 1,281,167 features; the benchmark takes 1024 of them, for which brute
force needs 5 GB already. The columns for ImageNet are estimated: the time grows with the number of
queries, except for that of normalising the bank, which is done once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from common.options import benchmark_parser, positive, use_machine
from common.report import draw_bars, print_table, timing_rows, write_json
from common.timing import Timing, compare, peak_bytes
from mmdino.evaluation.knn import (
    QUERY_CHUNK,
    columns_at_once,
    default_bank_chunk,
    nearest_neighbours,
    unit_rows,
)
from mmdino.utils.tool_errors import run_tool

TARGET = 1.2
IMAGENET = (1_281_167, 50_000)
BRUTE, OURS, PRODUCT = "brute force, one matrix", "ours", "matrix product alone"
NORMALISING = "normalising the bank"
SMOKE = {"bank": 700, "queries": 50, "width": 16, "k": 20, "rounds": 2}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=3)
    parser.add_argument("--bank", type=positive, default=IMAGENET[0], help="features in the bank")
    parser.add_argument("--queries", type=positive, default=1024, help="queries")
    parser.add_argument("--width", type=positive, default=384, help="width of a feature")
    parser.add_argument("--k", type=positive, default=200, help="neighbours")
    parser.add_argument("--no-brute", action="store_true", help="skip brute force")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_machine(args)
    if args.k > args.bank:
        raise ValueError(f"invalid --k {args.k}: the bank has {args.bank} features, see --bank.")
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
    """Runs the cases and returns a row for each."""
    torch.manual_seed(0)
    centres = torch.randn(1000, args.width)
    bank, queries = (
        features(count, centres).to(args.device) for count in (args.bank, args.queries)
    )
    cases: dict[str, Callable[[], Any]] = {
        OURS: lambda: nearest_neighbours(queries, bank, args.k),
        NORMALISING: lambda: normalise(bank),
        PRODUCT: lambda: product_alone(queries, bank),
    }
    if not args.no_brute:
        cases = {BRUTE: lambda: brute_force(queries, bank, args.k), **cases}
    timings = compare(cases, args.rounds, device=args.device)
    rows = timing_rows(timings, PRODUCT if args.no_brute else BRUTE, PRODUCT)
    for row in rows:
        row["peak MB"] = peak_bytes(cases[row["case"]], args.device) / 1e6
        whole = for_imagenet(row["case"], timings, args)
        row["ImageNet min"] = whole.median / 60
        row["ImageNet x limit"] = whole.ratio_to(for_imagenet(PRODUCT, timings, args))
        search = row["case"] in (BRUTE, OURS)
        row["ImageNet GiB"] = imagenet_bytes(row["case"], args) if search else None
    return rows


def features(count: int, centres: Tensor) -> Tensor:
    """Draws features (N, D) clustered around centres (C, D), like those of a trained network."""
    made = torch.randn(count, centres.shape[1])
    for part in made.split(QUERY_CHUNK):
        part.mul_(2).add_(centres[torch.randint(len(centres), (len(part),))])
    return made


def normalise(bank: Tensor) -> None:
    """Normalises the bank to length 1, a chunk at a time."""
    step = default_bank_chunk(bank.device)
    buffer = bank.new_empty(0)
    for start in range(0, len(bank), step):
        unit_rows(bank, start, start + step, out=buffer)


def brute_force(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Computes all similarities at once and the top k of each row."""
    similarities = unit_rows(queries, 0, len(queries)) @ unit_rows(bank, 0, len(bank)).T
    return similarities.topk(k, dim=1)


def product_alone(queries: Tensor, bank: Tensor) -> None:
    """Computes the similarities block by block, in one buffer."""
    step = columns_at_once(queries.device, default_bank_chunk(queries.device))
    buffer = queries.new_empty(QUERY_CHUNK * step)
    for columns in bank.split(step):
        for block in queries.split(QUERY_CHUNK):
            out = buffer[: len(block) * len(columns)].view(len(block), len(columns))
            torch.mm(block, columns.T, out=out)


def for_imagenet(case: str, timings: Mapping[str, Timing], args: argparse.Namespace) -> Timing:
    """Estimates the time for ImageNet from the number of products; the bank is normalised once."""
    bank, queries = IMAGENET
    once = Timing([0.0] * args.rounds) if case == PRODUCT else timings[NORMALISING]
    rounds = zip(timings[case].seconds, once.seconds, strict=True)
    return Timing(
        [((t - o) * (queries / args.queries) + o) * (bank / args.bank) for t, o in rounds]
    )


def imagenet_bytes(case: str, args: argparse.Namespace) -> float:
    """Estimates the GiB for ImageNet in float32: the features and the buffers of a search."""
    bank, queries = IMAGENET
    held = (bank + queries) * args.width
    if case == BRUTE:
        held += (bank + queries) * args.width + bank * queries
    else:
        # Normalised queries and a chunk of the bank, a block of similarities, and the best and
        # pending candidates with their 8-byte indices.
        device = torch.device(args.device)
        chunk = default_bank_chunk(device)
        step = columns_at_once(device, chunk)
        held += (queries + chunk) * args.width + QUERY_CHUNK * step
        held += queries * args.k * (1 + 2) + queries * args.k // 2 * (1 + 2 + 2)
    return 4 * held / 2**30


if __name__ == "__main__":
    run_tool(main)
