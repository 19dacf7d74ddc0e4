"""Times a ResNet forward and backward with the channels of its maps first, and last.

python tools/benchmarks/memory_format.py --dtype bf16 --threads 1. The models store maps with the
channels last under autocast (mmdino/models/selfsup/base.py), and as they come in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from common.dino_step import DTYPES
from common.options import benchmark_parser, positive, use_machine
from common.report import draw_bars, print_table, timing_rows, write_json
from common.timing import compare
from mmdino.models import ResNet
from mmdino.utils.tool_errors import run_tool

DEPTHS = sorted(ResNet.arch_settings)
FIRST, LAST = "channels first", "channels last"
SMOKE = {"depth": 18, "width": 4, "size": 32, "batch": 2, "rounds": 2}


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = benchmark_parser(__doc__, rounds=8)
    parser.add_argument("--depth", type=int, choices=DEPTHS, default=50, help="of the ResNet")
    parser.add_argument("--width", type=positive, default=64, help="channels of the first stage")
    parser.add_argument("--size", type=positive, default=224, help="side of an image")
    parser.add_argument("--batch", type=positive, default=4, help="images")
    parser.add_argument(
        "--dtype", choices=sorted(DTYPES), default="bf16", help="of autocast; fp32: none"
    )
    args = parser.parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    use_machine(args)
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    resnet = ResNet(args.depth, stem_channels=args.width, base_channels=args.width)
    resnet.to(args.device).train()
    images = torch.randn(args.batch, 3, args.size, args.size, device=args.device)
    last = images.contiguous(memory_format=torch.channels_last)
    cases = {
        FIRST: training(resnet, images, DTYPES[args.dtype]),
        LAST: training(resnet, last, DTYPES[args.dtype]),
    }
    alone = args.device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else None
    timings = compare(cases, args.rounds, device=args.device, clock=clock)
    rows = timing_rows(timings, FIRST, images=args.batch)
    print_table(
        rows,
        f"ResNet-{args.depth} of width {args.width}, {args.batch} images of {args.size} pixels, "
        f"forward and backward, {args.dtype}, {args.device}, {torch.get_num_threads()} thread(s).",
    )
    if args.json:
        write_json(args.json, "memory_format", vars(args), {"formats": rows}, argv, args.device)
    if args.figure:
        draw_bars(args.figure, rows, f"ResNet-{args.depth}, {args.dtype}")


def training(network: nn.Module, images: Tensor, dtype: torch.dtype | None) -> Callable[[], None]:
    """Returns a function that passes images forward and backward."""

    def run() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            maps = network(images)[-1]
        maps.float().square().mean().backward()
        network.zero_grad()

    return run


if __name__ == "__main__":
    run_tool(main)
