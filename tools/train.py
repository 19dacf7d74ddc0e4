"""Trains from a config, or on a folder of images: pretraining, linear evaluation, fine-tuning or
segmentation.

python tools/train.py configs/dino_demo.py
python tools/train.py --data MY_IMAGES --time 30m    chooses a recipe, and writes it as a config
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmdino.utils.command_line import add_reader_options, load_config, tool_parser
from mmdino.utils.tool_errors import run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmengine.config import Config

OF_DATA = ("time", "epochs", "size", "reader", "extensions")
OURS, PLAIN, AMP = "mmdino.StepOptimWrapper", "OptimWrapper", "AmpOptimWrapper"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__, needs_config=False)
    folder = parser.add_argument_group(
        "images in place of a config",
        "Looks at the images and the machine, writes a config with a reason for each choice into "
        "the work dir, and trains from it.",
    )
    folder.add_argument(
        "--data",
        metavar="PATH",
        help="folder of images at any depth, without labels; or a list of files (text, CSV, "
        "Parquet), or tar shards",
    )
    length = folder.add_mutually_exclusive_group()
    length.add_argument("--time", metavar="T", help="length of the run, such as 30m or 1h30m")
    length.add_argument("--epochs", type=int, metavar="N", help="length of the run")
    folder.add_argument("--size", choices=("tiny", "small", "base"), help="size of the network")
    add_reader_options(folder, "where they are of no usual format")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from this checkpoint, or from the last one in the work dir if none is named",
    )
    parser.add_argument(
        "--amp",
        nargs="?",
        const="auto",
        choices=("auto", "bfloat16", "float16", "off"),
        help="mixed precision in place of the config's; auto is bfloat16 where the device computes "
        "with it, else float16 on a GPU and float32 on a processor, off is float32",
    )
    args = parser.parse_args(argv)
    if args.config is None and args.data is None:
        parser.error("name a config or, with --data, a folder of images")
    if args.config is not None and args.data is not None:
        parser.error(
            f"got both a config, {args.config!r}, and --data {args.data}: name one of them (a time "
            "is one word, such as 30m)"
        )
    if args.data is None and any(vars(args)[name] is not None for name in OF_DATA):
        options = ", ".join(f"--{name}" for name in OF_DATA)
        parser.error(f"{options} belong to --data; a config has its own")
    if args.data is not None and args.launcher != "none":
        parser.error(
            "--data chooses a recipe for one process. Run it without --launcher, stop it when "
            "training starts, and start the config that it wrote with tools/dist_train.sh"
        )
    if args.data is not None and args.resume is not None:
        parser.error("--resume goes with the config that --data wrote: name that")
    return args


def set_precision(cfg: Config, precision: str) -> None:
    """Changes the precision that a config trains in.

    Args:
        cfg: The config.
        precision: What ``--amp`` takes.

    Raises:
        ValueError: If the optimiser wrapper is of a type whose precision is not known, or
            mmengine's mixed precision is asked for without an accelerator.
    """
    from mmengine.device import get_device

    from mmdino.engine.precision import autocast_dtype

    wrapper = cfg.optim_wrapper
    kind = wrapper.get("type", PLAIN)
    if kind == OURS:
        wrapper.precision = "float32" if precision == "off" else precision
    elif kind not in (PLAIN, AMP):
        raise ValueError(
            f"--amp knows the optim_wrapper types {OURS!r}, {PLAIN!r} and {AMP!r}, but the config "
            f"has {kind!r}. Change the type, or leave out --amp and choose the precision in the "
            "config."
        )
    elif precision == "off":
        wrapper.type = PLAIN
        for option in ("dtype", "loss_scale"):
            wrapper.pop(option, None)
    elif get_device() == "cpu":
        raise ValueError(
            f"--amp of this config is mmengine's {AMP}, which needs an accelerator, and none was "
            "found. Leave out --amp."
        )
    else:
        wrapper.type = AMP
        # mmengine's own default is float16.
        dtype = autocast_dtype(precision, get_device())
        wrapper.dtype = str(dtype).removeprefix("torch.")


def main(argv: Sequence[str] | None = None) -> None:
    """Trains."""
    args = parse_args(argv)

    from mmdino.engine.training import train
    from mmdino.weights.runner_loading import restrict_loading

    restrict_loading()
    if args.data is not None:
        args.config = config_for(args)
    cfg = load_config(args, needs=("model", "train_dataloader", "train_cfg", "optim_wrapper"))
    if args.amp:
        set_precision(cfg, args.amp)
    train(cfg, args.resume)
    if args.data is not None:
        from mmdino.folder_recipe.pretraining import next_commands

        print(next_commands(args.data, cfg.work_dir))


def config_for(args: argparse.Namespace) -> str:
    """Returns the path of the config that is written for a folder."""
    from mmdino.datasets.readers.reading import reading_from
    from mmdino.folder_recipe.prepare import Wish, default_work_dir, prepare

    wish = Wish(args.size, args.epochs, args.time)
    work_dir = default_work_dir(args.data) if args.work_dir is None else args.work_dir
    reading = reading_from(args.reader, args.extensions)
    return str(prepare(args.data, work_dir, wish, args.cfg_options, reading=reading))


if __name__ == "__main__":
    run_tool(main)
