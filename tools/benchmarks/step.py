"""Times the training step: ours, a plain one, and the matrix products alone.

python tools/benchmarks/step.py --threads 2. The plain step has the same network and data, two
groups of views, explicit attention, a log-softmax for each pair of views, and loops over tensors
for clipping and the teacher. The limit of the hardware is measured by the matrix products of one
step, forward and backward, with the same shapes and nothing in between.

--method dinov2 is the step of DINOv2, with a head of its own for patches unless --shared-head. Its
plain step does what the authors' code does on one device (common/plain_dinov2_step.py).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.registry import init_default_scope

from common.dino_step import (
    DTYPES,
    architecture,
    build_dino,
    dino_step,
)
from common.dinov2_step import DROP_PATH_RATE, Masks, build_dinov2, dinov2_step, draw_masks
from common.options import (
    SMOKE_MODEL,
    add_model_options,
    benchmark_parser,
    not_negative,
    positive,
    use_machine,
)
from common.plain_dinov2_step import PlainDINOv2Step
from common.plain_step import PlainStep
from common.report import draw_bars, draw_lines, print_table, timing_rows, write_json
from common.timing import compare, peak_bytes
from mmdino.utils.tool_errors import run_tool

TARGETS = {
    "dino": {"fp32": 0.92, "bf16": 0.8},
    "dinov2": {"fp32": 0.9, "bf16": 0.9},
}
GPU_TARGET = 0.7
COMPILE_MODES = ("default", "reduce-overhead")
"""Of ``torch.compile``; the second records CUDA graphs. Each has three graphs of a backbone's code,
of which torch keeps no more than eight."""
PLAIN, OURS, PRODUCTS = "plain step", "ours", "matrix products alone"
SMOKE = {**SMOKE_MODEL, "batch": [2], "rounds": 2}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--batch", type=positive, nargs="+", default=[8], help="images per step")
    parser.add_argument("--method", choices=sorted(TARGETS), default="dino", help="whose step")
    parser.add_argument(
        "--shared-head", action="store_true", help="dinov2: one head for class tokens and patches"
    )
    parser.add_argument(
        "--compile",
        nargs="*",
        choices=COMPILE_MODES,
        metavar="MODE",
        help=f"with torch.compile too, in each of the modes ({', '.join(COMPILE_MODES)})",
    )
    parser.add_argument("--with-cp", action="store_true", help="with activation checkpointing too")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="seconds of the processor, for a machine that others use; with --threads 1 on a CPU",
    )
    parser.add_argument("--no-memory", action="store_true", help="skip measuring memory")
    parser.add_argument(
        "--profile", type=not_negative, default=0, help="number of operators to print"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    if args.processor_time and (args.device != "cpu" or args.threads != 1):
        raise ValueError(
            "--processor-time counts the seconds of all threads, of which some wait for others: "
            "expected --threads 1 and --device cpu beside it."
        )
    use_machine(args)
    init_default_scope("mmpretrain")
    tables = {}
    for batch in args.batch:
        tables[f"batch {batch}"] = rows = measure(args, batch)
        print_table(rows, title(args, batch))
    if args.json:
        write_json(args.json, "step", vars(args), tables, argv, args.device)
    if args.figure:
        draw(args, tables)


def title(args: argparse.Namespace, batch: int) -> str:
    """Returns the title of a table: what it shows, and the target."""
    target = TARGETS[args.method][args.dtype] if args.device == "cpu" else GPU_TARGET
    return (
        f"Training step of {args.method}, {args.arch} patch {args.patch}, K {args.prototypes}, "
        f"batch {batch}, {args.dtype}, {args.device}, {torch.get_num_threads()} thread(s). Target "
        f"of ours: at most {target} x the plain step."
    )


def measure(args: argparse.Namespace, batch: int) -> list[dict[str, Any]]:
    """Runs the cases of one batch size and returns a row for each."""
    torch.manual_seed(0)
    # Graphs of another batch count towards those that torch keeps.
    torch.compiler.reset()
    cases = steps(args, batch)
    products = list(products_of_step(args, batch))
    cases[PRODUCTS] = run_products(products, DTYPES[args.dtype] or torch.float32, args.device)
    # Warm-up steps allocate the optimiser's state and compile.
    timings = compare(
        cases,
        args.rounds,
        warmup=2 if args.device != "cpu" else 1,
        device=args.device,
        clock=time.process_time if args.processor_time else None,
    )
    rows = timing_rows(timings, PLAIN, PRODUCTS, batch)
    flops = sum(product.flops for product in products)
    for row in rows:
        row["TFLOP/s"] = flops / row["median s"] / 1e12
        row["FLOP fraction"] = 1 / row["x limit"]
        measured = not args.no_memory and row["case"] != PRODUCTS
        row["peak MB"] = peak_bytes(cases[row["case"]], args.device) / 1e6 if measured else None
    if args.profile:
        print_operators(cases[OURS], args.profile)
    return rows


def steps(args: argparse.Namespace, batch: int) -> dict[str, Callable[[], Any]]:
    """Returns the plain step and ours, by name, each a function that trains on the same batch."""
    views = [
        torch.randint(256, (batch, 3, side, side), dtype=torch.uint8, device=args.device)
        for side in [args.global_size] * 2 + [args.local_size] * args.locals
    ]
    options = {OURS: {}}
    if args.compile is not None:
        for mode in args.compile or COMPILE_MODES[:1]:
            options[f"ours, compiled, {mode}"] = {"compile": {"mode": mode}}
    if args.with_cp:
        options["ours, checkpointed"] = {"with_cp": True}
    sizes = args.arch, args.patch, args.global_size, args.prototypes, args.device
    dtype = DTYPES[args.dtype]
    if args.method == "dino":
        models = {name: build_dino(*sizes, **changes) for name, changes in options.items()}
        cases = {PLAIN: partial(PlainStep(models[OURS], dtype), views)}
        for name, model in models.items():
            cases[name] = partial(dino_step(model, dtype), views)
        return cases
    masks = masks_of(args, batch)
    models = {
        name: build_dinov2(*sizes, shared_head=args.shared_head, **changes)
        for name, changes in options.items()
    }
    cases = {PLAIN: partial(PlainDINOv2Step(models[OURS], dtype), views, *masks)}
    for name, model in models.items():
        step = dinov2_step(model, dtype)
        cases[name] = partial(step, views, masks.masks, masks.mask_indices)
    return cases


def masks_of(args: argparse.Namespace, batch: int) -> Masks:
    """Returns the masks of a batch of DINOv2's step."""
    return draw_masks(batch, args.global_size // args.patch, args.device)


class Product(NamedTuple):
    """Matrix products (batch, m, k) x (batch, k, n), repeated ``times`` times.

    ``gradients`` is the number of products of the same size in the backward pass: 0, 1 or 2.
    """

    batch: int
    m: int
    k: int
    n: int
    times: int
    gradients: int

    @property
    def flops(self) -> int:
        """Floating-point operations; a multiplication with an addition counts as two."""
        return 2 * self.batch * self.m * self.k * self.n * self.times * (1 + self.gradients)


def products_of_step(args: argparse.Namespace, batch: int) -> Iterator[Product]:
    """Yields the matrix products of one step."""
    arch = architecture(args.arch)
    groups = [(2, args.global_size), (args.locals, args.local_size)]
    masked = len(masks_of(args, batch).mask_indices) if args.method == "dinov2" else 0
    for trained, seen in ((2, groups), (0, groups[:1])):
        for views, side in seen:
            images, patches = batch * views, (side // args.patch) ** 2
            # The images need no gradient.
            pixels = 3 * args.patch**2
            yield Product(1, images * patches, pixels, arch["embed_dims"], 1, trained // 2)
            if args.method == "dinov2" and trained and images:
                # Stochastic depth computes no branch of the others.
                images = max(int(images * (1 - DROP_PATH_RATE)), 1)
            yield from _blocks(arch, images, patches + 1, trained)
        rows = batch * sum(views for views, _ in seen) + masked
        for k, n in ((arch["embed_dims"], 2048), (2048, 2048), (2048, 256), (256, args.prototypes)):
            yield Product(1, rows, k, n, 1, trained)


def _blocks(arch: dict[str, int], images: int, tokens: int, trained: int) -> Iterator[Product]:
    width, hidden = arch["embed_dims"], arch["feedforward_channels"]
    depth, heads = arch["num_layers"], arch["num_heads"]
    for k, n in ((width, 3 * width), (width, width), (width, hidden), (hidden, width)):
        yield Product(1, images * tokens, k, n, depth, trained)
    yield Product(images * heads, tokens, width // heads, tokens, depth, trained)
    yield Product(images * heads, tokens, tokens, width // heads, depth, trained)


def run_products(
    products: Sequence[Product], dtype: torch.dtype, device: str
) -> Callable[[], None]:
    """Allocates the operands and returns a function that computes all products."""
    operands = [
        tuple(
            torch.randn(shape, device=device).to(dtype).squeeze(0)
            for shape in ((p.batch, p.m, p.k), (p.batch, p.n, p.k), (p.batch, p.m, p.n))
        )
        for p in products
    ]

    def run() -> None:
        for product, (left, right, gradient) in zip(products, operands, strict=True):
            for _ in range(product.times):
                left @ right.mT
                if product.gradients:
                    gradient.mT @ left
                if product.gradients > 1:
                    gradient @ right

    return run


def print_operators(step: Callable[[], Any], number: int) -> None:
    """Prints the operators that take most of a step's time."""
    with torch.profiler.profile() as profile:
        step()
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=number))


def draw(args: argparse.Namespace, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Draws images/s over the batch size or, for a single batch size, bars of times."""
    if len(args.batch) == 1:
        draw_bars(args.figure, next(iter(tables.values())), f"Training step, {args.dtype}")
        return
    series: dict[str, list[tuple[float, float]]] = {}
    for batch, rows in zip(args.batch, tables.values(), strict=True):
        plain = next(row["images/s"] for row in rows if row["case"] == PLAIN)
        for row in rows:
            # By the ratio, which changes of the machine's speed affect less.
            series.setdefault(row["case"], []).append((batch, plain / row["x baseline"]))
    limits = {PRODUCTS: series.pop(PRODUCTS)}
    draw_lines(
        args.figure,
        series,
        "images per step",
        "images/s",
        f"Training step, {args.arch}, {args.dtype}, {args.device}",
        limits,
    )


if __name__ == "__main__":
    run_tool(main)
