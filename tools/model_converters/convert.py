"""Converts weights between mmdino, the authors' files, timm and Hugging Face.

The format of the source is detected: a checkpoint of mmdino or an extracted file, the authors'
backbone or full file, weights of timm or torchvision, or the folder of a Hugging Face model
(ViTModel, Dinov2Model, Dinov2WithRegistersModel or DINOv3ViTModel).

    python tools/model_converters/convert.py dino_deitsmall16_pretrain.pth vits16.pth --to mmdino
    python tools/model_converters/convert.py work_dirs/dino_demo/epoch_12.pth out --to huggingface
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from converters.formats import SUFFIXES
from mmdino.utils.tool_errors import ToolParser, run_tool


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="file, Hugging Face folder, or http address to read")
    parser.add_argument(
        "target", help="file to write, .pth or .safetensors; for Hugging Face a folder"
    )
    parser.add_argument("--to", required=True, choices=tuple(SUFFIXES), help="target project")
    parser.add_argument(
        "--full",
        action="store_true",
        help="convert student, teacher, both heads and the centre; mmdino and authors only",
    )
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument("--prefix", help="prefix of the backbone's tensors, if they are not found")
    parser.add_argument(
        "--num-heads", type=int, help="heads of a ViT, if neither file nor width determines them"
    )
    parser.add_argument(
        "--gelu",
        choices=("exact", "quick"),
        help="GELU of a CLIP whose file does not say it; quick is OpenAI's approximation",
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
        help="compare the features of a random input with those of each project's own code",
    )
    return parser.parse_args(argv)


def convert_one(args: argparse.Namespace) -> None:
    """Converts a backbone."""
    from converters.checks import check_backbone
    from converters.conversion import (
        check_target,
        convert_backbone,
        grid_note,
        keep_expected,
        match_weights,
        require_match,
        write_backbone,
    )
    from mmdino.weights.networks import backbone_weights

    check_target(args.target, args.to, args.source)
    weights = backbone_weights(args.source, args.network, args.prefix, args.num_heads, args.gelu)
    print(f"{args.source}: {weights}")
    match = match_weights(weights)
    print(match)
    require_match(match, args.allow_missing, args.allow_unexpected, args.check)
    weights = weights._replace(state_dict=keep_expected(weights.state_dict, match))
    tensors = convert_backbone(weights, args.to)
    if args.check:
        _print_check(check_backbone(weights, args.to, tensors), "features")
    write_backbone(args.target, args.to, weights, tensors)
    print(f"{args.target}: written, {len(tensors)} tensors in the names of {args.to}")
    _print_note(grid_note(weights.config, args.to))


def convert_full(args: argparse.Namespace) -> None:
    """Converts student, teacher, heads and centre."""
    from converters.checks import check_full
    from converters.conversion import (
        check_target,
        full_checkpoint,
        full_weights,
        grid_note,
        keep_expected,
        match_weights,
        require_match,
        write_full,
    )

    check_target(args.target, "authors", args.source)
    weights = full_weights(args.source, args.num_heads)
    print(f"{args.source}: {weights}")
    match = match_weights(weights)
    print(match)
    require_match(match, args.allow_missing, args.allow_unexpected, args.check)
    weights = weights._replace(state_dict=keep_expected(weights.state_dict, match))
    checkpoint = full_checkpoint(weights, args.to)
    if args.check:
        _print_check(check_full(weights), "features, logits and centre")
    write_full(args.target, checkpoint)
    print(
        f"{args.target}: written, {len(weights.state_dict)} tensors of student, teacher, heads and "
        f"centre in the names of {args.to}"
    )
    _print_note(grid_note(weights.config["backbone"], args.to))


def _print_note(note: str) -> None:
    if note:
        print(note)


def _print_check(difference: float, what: str) -> None:
    print(f"checked on a random input: {what} differ by {difference:.1e} at most")


def main(argv: Sequence[str] | None = None) -> None:
    """Converts."""
    args = parse_args(argv)
    if args.full:
        if args.prefix or args.network == "student" or args.gelu:
            raise ValueError(
                "--full converts both networks of a run; leave out --network, --prefix and --gelu."
            )
        convert_full(args)
    else:
        convert_one(args)


if __name__ == "__main__":
    run_tool(main)
