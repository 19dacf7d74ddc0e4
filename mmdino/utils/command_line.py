"""Parser, config and checks of the command-line tools."""

from __future__ import annotations

import argparse
import inspect
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner
from mmengine.utils import ProgressBar

from mmdino.utils.ranks import prepare_ranks
from mmdino.utils.tool_errors import ToolParser

READ_FROM_CFG = (
    "activation_checkpointing",
    "compile",
    "efficient_conv_bn_eval",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "sync_bn",
)
"""Keys that mmengine's ``Runner`` reads from the config and not from its arguments."""
MMENGINE_HOOKS = (
    "runtime_info",
    "timer",
    "sampler_seed",
    "logger",
    "param_scheduler",
    "checkpoint",
)
"""Entries of ``default_hooks`` that mmengine has by itself, and leaves out where they are None."""


class ConfigOptions(DictAction):
    """mmengine's action for ``--cfg-options``, which explains an option without a value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Reads the options."""
        for text in values:
            key, separator, _ = text.partition("=")
            if not separator or not all(key.split(".")):
                parser.error(
                    f"{option_string} {text}: expected KEY=VALUE without spaces around =, such as "
                    "optim_wrapper.optimizer.lr=0.001"
                )
        super().__call__(parser, namespace, values, option_string)


def tool_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the arguments common to all tools."""
    parser = ToolParser(description=description)
    parser.add_argument("config", help="path of the config")
    parser.add_argument("--work-dir", help="output folder; by default work_dirs/<config>")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=ConfigOptions,
        help="changes to the config, such as default_hooks.ema_teacher.momentum=0.9995",
    )
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    # Older launchers of torch pass it; LOCAL_RANK in the environment is what counts.
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config and merges the command line into it.

    Args:
        args: Arguments of :func:`tool_parser`.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If an option changes nothing.
    """
    existing_file(args.config, "config", "The shipped ones are in configs/.")
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        refuse_idle_options(args.cfg_options, runner_class({**cfg, **args.cfg_options}))
        refuse_unknown_hooks(args.cfg_options, cfg)
        cfg.merge_from_dict(args.cfg_options)
    drop_hooks(cfg)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    if cfg.get("default_scope") == "mmseg":
        require_mmseg()
    if not torch.cuda.is_available():
        cfg.merge_from_dict({"env_cfg": {"dist_cfg": {"backend": "gloo"}}})
        # torch synchronises batch norms on accelerators only, and refuses tensors of the CPU.
        cfg.pop("sync_bn", None)
    prepare_ranks(cfg)
    return cfg


def require_mmseg() -> None:
    """Checks that mmsegmentation can be used, before a config of its scope is built.

    Raises:
        ImportError: If it cannot, with the remedy.
    """
    try:
        import mmseg.models  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"This config needs mmsegmentation, which cannot be imported: {error}. The maintained "
            'distribution brings it: pip install "mmdino[onedl]". Of the original one, version '
            "1.2.2 needs mmcv with compiled ops; docs/get_started.md has the commands."
        ) from error


def runner_class(cfg: Mapping[str, Any]) -> type[Runner | FlexibleRunner]:
    """Returns the class that trains from a config: mmengine's ``Runner`` if it names none.

    Raises:
        ValueError: If there is no runner of that name.
    """
    name = cfg.get("runner_type", Runner.__name__)
    found = RUNNERS.get(name)
    if found is None:
        raise ValueError(
            f"The config has runner_type={name!r}, which is not known. Leave it out for "
            "mmengine's Runner, or take 'FlexibleRunner', which has a strategy."
        )
    return found


def refuse_idle_options(options: dict, runner: type = Runner) -> None:
    """Refuses options that no part of a run reads.

    A config's own variables are among them: they are evaluated before the command line is merged.

    Args:
        options: Options by their dotted names.
        runner: Class of the runner.

    Raises:
        ValueError: If an option's first key is not one that the runner reads.
    """
    read = {"runner_type", *inspect.signature(runner.__init__).parameters}
    if runner is Runner:
        read.update(READ_FROM_CFG)
    idle = [key for key in options if key.split(".")[0] not in read]
    if idle:
        raise ValueError(
            f"--cfg-options {', '.join(idle)} would change nothing. Name the place that is used, "
            "such as train_cfg.max_epochs, train_dataloader.batch_size, optim_wrapper.optimizer.lr,"
            " model.head.out_channels or default_hooks.ema_teacher.momentum, or change the variable"
            " in the config itself."
        )


def refuse_unknown_hooks(options: dict, cfg: Config) -> None:
    """Refuses options that switch off a hook which the config does not have.

    Args:
        options: Options by their dotted names.
        cfg: The config before they are merged.

    Raises:
        ValueError: If there is such an option.
    """
    known = {*MMENGINE_HOOKS, *cfg.get("default_hooks", {})}
    for key, value in options.items():
        section, _, name = key.partition(".")
        if section == "default_hooks" and value is None and name not in known:
            raise ValueError(
                f"--cfg-options {key}=None would change nothing: default_hooks has no {name!r}. "
                f"It has {', '.join(sorted(known))}."
            )


def drop_hooks(cfg: Config) -> None:
    """Takes the hooks that are None out of ``default_hooks``.

    mmengine does so for its own hooks only, and fails an assertion on others.
    """
    hooks = cfg.get("default_hooks", {})
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in MMENGINE_HOOKS:
            del hooks[name]


def existing_file(path: str, kind: str, advice: str = "") -> str:
    """Returns the path of a local file or the address of a remote one.

    Raises:
        FileNotFoundError: If a local file does not exist.
    """
    if "://" not in path and not Path(path).is_file():
        raise FileNotFoundError(f"The {kind} {path!r} does not exist. {advice}".rstrip())
    return path


def progress_bar(total: int = 0) -> ProgressBar:
    """Returns a bar on the terminal; where there is none, as in a log file, it shows nothing.

    Args:
        total: Number of tasks, 0 where it is not known.
    """
    return ProgressBar(total, file=sys.stderr if sys.stderr.isatty() else io.StringIO())
