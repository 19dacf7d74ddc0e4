"""Exports a backbone to ONNX for one input size and checks it with onnxruntime.

python tools/model_converters/export_onnx.py work_dirs/dino_demo/epoch_12.pth demo.onnx --size 48
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from mmdino.utils.tool_errors import ToolParser, run_tool


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="any source that convert.py reads")
    parser.add_argument("target", help="file to write, .onnx")
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        default=[224],
        metavar="PIXELS",
        help="height and width of the images, or one number for both; 224 by default",
    )
    parser.add_argument("--batch", type=int, default=1, help="batch size; 1 by default")
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--num-heads", type=int, help="heads of a ViT, if neither file nor width determines them"
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-5,
        help="allowed difference of features, relative to the largest; 1e-5 by default",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Exports."""
    args = parse_args(argv)
    if len(args.size) > 2 or min(args.size) < 1 or args.batch < 1:
        raise ValueError(
            f"invalid --size {args.size} or --batch {args.batch}: expected one or two positive "
            "numbers of pixels, and at least 1 image."
        )
    if not 0 <= args.tolerance < math.inf:
        raise ValueError(
            f"invalid --tolerance {args.tolerance}: expected a number of 0 or more, such as 1e-5."
        )
    if Path(args.target).suffix != ".onnx":
        raise ValueError(f"Cannot write to {args.target}: expected a file ending in .onnx.")

    import torch

    from converters.onnx_export import export_onnx
    from mmdino.weights.networks import backbone_weights, build_backbone, input_channels

    height, width = args.size[0], args.size[-1]
    weights = backbone_weights(args.source, args.network, num_heads=args.num_heads)
    print(f"{args.source}: {weights}")
    backbone = build_backbone(weights.config, weights.state_dict, args.source)
    print(f"all {len(weights.state_dict)} tensors matched")
    generator = torch.Generator().manual_seed(0)
    shape = (args.batch, input_channels(backbone), height, width)
    images = torch.randn(shape, generator=generator)
    difference = export_onnx(backbone, args.target, images, args.tolerance)
    print(f"onnxruntime's features differ by {difference:.1e} of the largest at most")
    print(f"{args.target}: written, images {shape} to features")


if __name__ == "__main__":
    run_tool(main)
