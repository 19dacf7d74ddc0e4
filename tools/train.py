"""Trains from a config: pretraining, linear evaluation, fine-tuning or segmentation.

python tools/train.py configs/dino_demo.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmdino.utils.command_line import existing_file, load_config, tool_parser
from mmdino.utils.tool_errors import run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmengine.config import Config

    from mmdino.engine.checkpoints import Search

OURS, PLAIN, AMP = "mmdino.StepOptimWrapper", "OptimWrapper", "AmpOptimWrapper"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
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
        "with it, else float16, off is float32",
    )
    return parser.parse_args(argv)


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

    from mmdino.engine.optimizers.step_optim_wrapper import autocast_dtype

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

    from mmdino.config_check.top_level import runner_class
    from mmdino.utils.folder_lock import lock_folder
    from mmdino.utils.ranks import is_first_rank
    from mmdino.weights.runner_loading import restrict_loading

    restrict_loading()
    cfg = load_config(args, needs=("model", "train_dataloader", "train_cfg", "optim_wrapper"))
    if args.amp:
        set_precision(cfg, args.amp)
    if is_first_rank(cfg.launcher):
        # Before the runner writes its config and log there.
        lock_folder(cfg.work_dir)
    resumed = None if args.resume is None else resume(cfg, args.resume)
    runner = runner_class(cfg).from_cfg(cfg)
    if resumed is not None:
        runner.logger.info(f"Resuming from {resumed}.")
    runner.train()


def resume(cfg: Config, named: str) -> str | Search:
    """Makes a config resume from a checkpoint.

    Args:
        cfg: The config.
        named: The checkpoint, or "auto" for the newest whole one in the work dir.

    Returns:
        The checkpoint, with what was passed over for it.

    Raises:
        FileNotFoundError: If it does not exist, or there is none.
    """
    from mmdino.engine.checkpoints import checkpoint_to_resume

    cfg.resume = True
    if named != "auto":
        cfg.load_from = existing_file(named, "checkpoint")
        return named
    search = checkpoint_to_resume(cfg.work_dir)
    cfg.load_from = str(search.found.path)
    return search


if __name__ == "__main__":
    run_tool(main)
