"""Parser, config and checks of the command-line tools."""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmengine.utils import ProgressBar

from mmdino.config_check import check_config
from mmdino.config_check.config_files import read_config
from mmdino.config_check.sections import MMENGINE_HOOKS
from mmdino.config_check.spelling import did_you_mean, nearest
from mmdino.config_check.top_level import keys_of_runner, runner_class


class OptionsAction(DictAction):
    """mmengine's reading of KEY=VALUE, which fails with a line and not with a traceback."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Reads the options."""
        for option in values:
            key, is_option, _ = option.partition("=")
            if not key or not is_option:
                parser.error(f"{option_string} {option}: expected KEY=VALUE without blanks")
        try:
            super().__call__(parser, namespace, values, option_string)
        # mmengine asserts that brackets are closed.
        except AssertionError as error:
            parser.error(f"{option_string}: {error}")


def tool_parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the arguments common to all tools."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="path of the config")
    parser.add_argument("--work-dir", help="output folder; by default work_dirs/<config>")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=OptionsAction,
        help="changes to the config, such as default_hooks.ema_teacher.momentum=0.9995",
    )
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none")
    # Older launchers of torch pass it; LOCAL_RANK in the environment is what counts.
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace, needs: Collection[str] = ("model",)) -> Config:
    """Reads the config, merges the command line into it and checks the result.

    Args:
        args: Arguments of :func:`tool_parser`.
        needs: Sections of the config that the tool cannot do without.

    Raises:
        FileNotFoundError: If the config, a file that it is based on, or the checkpoint of
            ``load_from`` does not exist.
        ValueError: If the config cannot be read or has mistakes
            (:func:`~mmdino.config_check.check_config`), an option does not fit, or the work dir
            cannot be written.
    """
    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    drop_hooks(cfg)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    if cfg.get("default_scope") == "mmseg":
        require_mmseg()
    check_config(cfg, needs)
    if not torch.cuda.is_available():
        use_gloo(cfg)
    require_writable(cfg.work_dir)
    # Tools that take a checkpoint put it in place of the config's.
    replaced = getattr(args, "checkpoint", None) or getattr(args, "resume", None)
    if cfg.get("load_from") is not None and not replaced:
        existing_file(cfg.load_from, "checkpoint of load_from", folder_too=True)
    return cfg


def use_gloo(cfg: Config) -> None:
    """Makes several processes talk to each other without a GPU."""
    cfg.merge_from_dict({"env_cfg": {"dist_cfg": {"backend": "gloo"}}})
    # torch synchronises batch norms on accelerators only, and refuses tensors of the CPU.
    cfg.pop("sync_bn", None)


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


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Merges ``--cfg-options`` into a config.

    Args:
        cfg: The config.
        options: Options by their dotted names.

    Raises:
        ValueError: If one would change nothing, or leads to a place that cannot be.
    """
    refuse_idle_options(options, runner_class({**cfg, **options}))
    refuse_unknown_hooks(options, cfg)
    for key in options:
        require_place(cfg, key, options)
    try:
        cfg.merge_from_dict(options)
    # An option may stand in the way of another.
    except (KeyError, TypeError) as error:
        raise ValueError(f"--cfg-options do not fit together: {error}") from error


def require_place(cfg: Config, key: str, options: Collection[str]) -> None:
    """Checks that an option leads through dicts and lists of a config.

    Args:
        cfg: The config before options are merged.
        key: Dotted name of the option.
        options: Names of all options.

    Raises:
        ValueError: If it does not.
    """
    node: Any = cfg
    parts = key.split(".")
    for place, part in enumerate(parts):
        path = ".".join(parts[:place])
        if f"{path}._delete_" in options:
            return
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                allowed = f"0 to {len(node) - 1}" if node else "none, since it is empty"
                raise ValueError(
                    f"--cfg-options {key}: {path} is a list; expected an index of it ({allowed}), "
                    f"got {part!r}."
                )
            node = node[int(part)]
        elif isinstance(node, (Mapping, Config)):
            if part not in node:
                return
            node = node[part]
        else:
            raise ValueError(
                f"--cfg-options {key}: {path} is {node!r}, which has no keys. Add {path}."
                f"_delete_=True to put a dict in its place."
            )


def refuse_idle_options(options: dict, runner: type = Runner) -> None:
    """Refuses options that no part of a run reads.

    A config's own variables are among them: they are evaluated before the command line is merged.

    Args:
        options: Options by their dotted names.
        runner: Class of the runner.

    Raises:
        ValueError: If an option's first key is not one that the runner reads.
    """
    read = {"runner_type", *keys_of_runner(runner)}
    idle = [key for key in options if key.split(".")[0] not in read]
    if idle:
        guesses = [guess for key in idle for guess in nearest(key.split(".")[0], read)[:1]]
        raise ValueError(
            f"--cfg-options {', '.join(idle)} would change nothing{did_you_mean(guesses) or '.'} "
            "Name the place that is used, "
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
    known = {*MMENGINE_HOOKS, *(cfg.get("default_hooks") or {})}
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
    hooks = cfg.get("default_hooks")
    # What is no dict is left to the check.
    if not isinstance(hooks, Mapping):
        return
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in MMENGINE_HOOKS:
            del hooks[name]


def existing_file(path: str, kind: str, advice: str = "", folder_too: bool = False) -> str:
    """Returns the path of a local file or the address of a remote one.

    Args:
        path: Path or address.
        kind: What it is, for the message.
        advice: What to do, for the message.
        folder_too: Whether it may be a folder.

    Raises:
        FileNotFoundError: If a local file does not exist.
        ValueError: If it is no text, or an address that cannot be downloaded.
    """
    if not isinstance(path, (str, Path)):
        raise ValueError(f"The {kind} must be a path or an http(s) URL, got {path!r}.")
    scheme, is_address, _ = str(path).partition("://")
    if is_address and scheme not in ("http", "https"):
        raise ValueError(f"The {kind} {path!r} cannot be read: expected a path or an http(s) URL.")
    found = Path(path).exists() if folder_too else Path(path).is_file()
    if not is_address and not found:
        what = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"The {kind} {path!r} {what}. {advice}".rstrip())
    return path


def require_writable(work_dir: str | Path) -> None:
    """Checks that a work dir can be made and written, and leaves nothing behind.

    Raises:
        ValueError: If it cannot.
    """
    folder = Path(work_dir)
    nearest_folder = next(
        parent for parent in (folder, *folder.absolute().parents) if parent.exists()
    )
    if not nearest_folder.is_dir():
        raise ValueError(
            f"The work dir {str(work_dir)!r} cannot be made: {str(nearest_folder)!r} is a file. "
            "Choose another with --work-dir."
        )
    try:
        with tempfile.TemporaryDirectory(dir=nearest_folder):
            pass
    except OSError as error:
        raise ValueError(
            f"The work dir {str(work_dir)!r} cannot be written: {error.strerror}. Choose "
            "another with --work-dir."
        ) from error


def progress_bar(total: int = 0) -> ProgressBar:
    """Returns a bar on the terminal; where there is none, as in a log file, it shows nothing.

    Args:
        total: Number of tasks, 0 where it is not known.
    """
    return ProgressBar(total, file=sys.stderr if sys.stderr.isatty() else io.StringIO())
