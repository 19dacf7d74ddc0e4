"""Extracts the teacher's backbone from a checkpoint to a file with nothing but tensors.

    python tools/model_converters/extract.py work_dirs/dino_demo/epoch_12.pth demo_teacher.pth

mmpretrain, mmseg and mmdino load a .pth through init_cfg=dict(type='Pretrained', checkpoint=FILE);
mmdino loads a .safetensors too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmdino.utils.tool_errors import ToolParser, run_tool


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="checkpoint of mmdino, or the authors' full file")
    parser.add_argument("target", help="file to write, .pth or .safetensors")
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--num-heads", type=int, help="heads of a ViT, if neither file nor width determines them"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="write even if expected tensors are missing"
    )
    parser.add_argument(
        "--allow-unexpected", action="store_true", help="drop tensors that DINO does not have"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare the features of a random input with those of the authors' network",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Extracts."""
    args = parse_args(argv)

    from converters.checks import check_backbone
    from converters.conversion import (
        check_target,
        keep_expected,
        match_weights,
        require_match,
        write_backbone,
    )
    from mmdino.weights.networks import backbone_weights

    check_target(args.target, "mmdino", args.checkpoint)
    weights = backbone_weights(args.checkpoint, args.network, num_heads=args.num_heads)
    print(f"{args.checkpoint}: {weights}")
    match = match_weights(weights)
    print(match)
    require_match(match, args.allow_missing, args.allow_unexpected, args.check)
    weights = weights._replace(state_dict=keep_expected(weights.state_dict, match))
    if args.check:
        difference = check_backbone(weights, "mmdino", weights.state_dict)
        print(f"checked on a random input: features differ by {difference:.1e} at most")
    write_backbone(args.target, "mmdino", weights, weights.state_dict)
    print(f"{args.target}: written, {len(weights.state_dict)} tensors")


if __name__ == "__main__":
    run_tool(main)
