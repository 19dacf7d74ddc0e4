"""Trains from a config, be it pretraining, an evaluation or segmentation.

python tools/train.py configs/dino_demo.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmdino.utils.command_line import existing_file, load_config, runner_class, tool_parser
from mmdino.weights.files import restrict_loading

AMP_WRAPPERS = {
    "mmdino.StepOptimWrapper": "mmdino.DINOAmpOptimWrapper",
    "OptimWrapper": "AmpOptimWrapper",
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint, or from the last one of the work dir if none is named",
    )
    parser.add_argument(
        "--amp",
        nargs="?",
        const="auto",
        choices=("auto", "bfloat16", "float16"),
        help="mixed precision; auto takes bfloat16 where the device has it, else float16",
    )
    return parser.parse_args(argv)


def turn_on_amp(cfg: Config, dtype: str) -> None:
    """Changes the optimiser wrapper to its mixed-precision kind.

    Raises:
        ValueError: If there is no such kind.
    """
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    if kind not in {*AMP_WRAPPERS, *AMP_WRAPPERS.values()}:
        raise ValueError(
            f"--amp knows the optim_wrapper types {', '.join(map(repr, AMP_WRAPPERS))}, but the "
            f"config has {kind!r}. Change the type, or leave out --amp and choose the precision in "
            "the config."
        )
    cfg.optim_wrapper.type = AMP_WRAPPERS.get(kind, kind)
    if cfg.optim_wrapper.type == "AmpOptimWrapper":
        refuse_amp_on_cpu()
    if dtype == "auto" and cfg.optim_wrapper.type == "AmpOptimWrapper":
        # Left alone it takes float16.
        dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if dtype != "auto":
        cfg.optim_wrapper.dtype = dtype


def refuse_amp_on_cpu() -> None:
    """Refuses mmengine's mixed precision where there is no accelerator.

    Raises:
        ValueError: If there is none.
    """
    if get_device() == "cpu":
        raise ValueError(
            "--amp of an evaluation or of segmentation is mmengine's AmpOptimWrapper, which needs "
            "an accelerator, and none was found. Leave out --amp."
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Trains."""
    args = parse_args(argv)
    restrict_loading()
    cfg = load_config(args)
    if args.amp:
        turn_on_amp(cfg, args.amp)
    if args.resume:
        cfg.resume = True
        if args.resume != "auto":
            cfg.load_from = existing_file(args.resume, "checkpoint")
    runner_class(cfg).from_cfg(cfg).train()


if __name__ == "__main__":
    main()
