"""Times the teacher's update: one call for all tensors against a loop over them.

python tools/benchmarks/ema.py. An update reads the teacher and the student and writes the teacher,
three times the size of the network. The limit of the memory bandwidth is measured by adding one
tensor of that size to another in place, which moves the same number of bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import init_default_scope
from torch import Tensor

from common.options import SMOKE_MODEL, benchmark_parser, positive, use_machine
from common.plain_step import MOMENTUM, move_one_by_one
from common.report import draw_bars, print_table, timing_rows, write_json
from common.timing import compare
from mmdino.engine.hooks.ema_teacher_hook import move_teacher_
from mmdino.models import DINOHead, VisionTransformer
from mmdino.utils.tool_errors import run_tool

TARGET = 0.3
LOOP, OURS, MEMORY = "loop over tensors", "ours", "memory bandwidth"
SMOKE = {"arch": SMOKE_MODEL["arch"], "prototypes": SMOKE_MODEL["prototypes"], "rounds": 2}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=15)
    parser.add_argument("--arch", default="deit-base", help="mmpretrain's name of the ViT")
    parser.add_argument("--prototypes", type=positive, default=65536, help="K")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_machine(args)
    init_default_scope("mmpretrain")
    rows, size = measure(args)
    print_table(
        rows,
        f"Teacher update, {args.arch} and head with K {args.prototypes}: {size / 1e6:.4g} million "
        f"parameters, {args.device}, {torch.get_num_threads()} thread(s). Target of ours: at most "
        f"{TARGET} x the loop.",
    )
    if args.json:
        write_json(args.json, "ema", vars(args), {"update": rows}, argv, args.device)
    if args.figure:
        draw_bars(args.figure, rows, "Teacher update")


def measure(args: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """Runs the cases; returns a row for each and the number of parameters."""
    backbone = VisionTransformer(args.arch)
    width = backbone.embed_dims
    student = [*backbone.parameters(), *DINOHead(width, args.prototypes).parameters()]
    student = [parameter.detach().to(args.device) for parameter in student]
    teacher = [parameter.clone() for parameter in student]
    size = sum(parameter.numel() for parameter in student)
    flat = [torch.zeros(size, device=args.device) for _ in range(2)]
    cases = {
        LOOP: lambda: move_one_by_one(teacher, student, MOMENTUM),
        OURS: lambda: move_teacher_(teacher, student, MOMENTUM),
        MEMORY: lambda: add_(*flat),
    }
    timings = compare(cases, args.rounds, device=args.device)
    rows = timing_rows(timings, LOOP, MEMORY)
    for row in rows:
        row["GB/s"] = 3 * 4 * size / row["median s"] / 1e9
    return rows, size


def add_(total: Tensor, other: Tensor) -> None:
    """Adds a tensor to another in place."""
    total.add_(other)


if __name__ == "__main__":
    run_tool(main)
