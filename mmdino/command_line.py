"""What the command-line tools share."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from mmengine.config import Config, DictAction


def tool_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that all tools have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="path of the config")
    parser.add_argument("--work-dir", help="where output goes; by default work_dirs/<config>")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        help="changes to the config, such as default_hooks.ema_teacher.momentum=0.9995",
    )
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    # Older launchers of torch pass it; the environment says the same.
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config and merges the command line into it.

    Args:
        args: Arguments of :func:`tool_parser`.

    Raises:
        FileNotFoundError: If the config does not exist.
    """
    existing_file(args.config, "config", "The shipped ones are in configs/.")
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    if not torch.cuda.is_available():
        cfg.merge_from_dict({"env_cfg": {"dist_cfg": {"backend": "gloo"}}})
    return cfg


def existing_file(path: str, kind: str, advice: str = "") -> str:
    """Returns the path of a local file or the address of a remote one.

    Raises:
        FileNotFoundError: If a local file does not exist.
    """
    if "://" not in path and not Path(path).is_file():
        raise FileNotFoundError(f"The {kind} {path!r} does not exist. {advice}".rstrip())
    return path
