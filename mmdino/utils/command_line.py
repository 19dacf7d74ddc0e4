"""Parser, config and checks of the command-line tools."""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.shipped import config_path
from mmdino.utils.options_action import OptionsAction
from mmdino.utils.printable import printable
from mmdino.utils.tool_errors import ToolParser

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.utils import ProgressBar


FIGURE_SUFFIXES = (".jpg", ".pdf", ".png", ".svg")
"""Formats of figures."""

FPS_RANGE = (0.01, 1000)
"""Frames per second that the file formats can hold."""


def tool_parser(description: str, needs_config: bool = True) -> argparse.ArgumentParser:
    """Returns a parser with the arguments common to all tools.

    Args:
        description: What the tool does.
        needs_config: Whether a config must be named.
    """
    parser = ToolParser(description=description)
    parser.add_argument(
        "config",
        nargs=None if needs_config else "?",
        type=config_path,
        help="path of a config, or the name of a shipped one, such as dino_demo",
    )
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


def add_reader_options(group: argparse._ArgumentGroup, use: str) -> None:
    """Adds the options that name a function which reads images.

    Args:
        group: A group of a parser.
        use: What it is for, in words that follow "reads the images".
    """
    group.add_argument(
        "--reader",
        type=_reader,
        metavar="FUNCTION",
        help=f"function that reads the images {use}: mmdino.read_tiff, or with arguments "
        "\"{'type': 'mmdino.read_dicom', 'window': (40, 400)}\"",
    )
    group.add_argument(
        "--extensions", nargs="+", metavar=".EXT", help="of the files for --reader, such as .dcm"
    )


def _reader(text: str) -> str | dict[str, Any]:
    """Reads the name of a reader, or a dict of it and its arguments."""
    if not text.startswith("{"):
        return text
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no Python dict: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise argparse.ArgumentTypeError(f"{text!r} is no Python dict with a 'type'")
    return found


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
    import torch

    from mmdino.config_check import check_config
    from mmdino.config_check.config_files import read_config
    from mmdino.utils.config_options import merge_options
    from mmdino.utils.ranks import is_first_rank, prepare_ranks

    cfg = read_config(args.config)
    cfg.launcher = args.launcher
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
    drop_hooks(cfg)
    if args.work_dir == "":
        raise ValueError("--work-dir is empty: name a folder, or leave it out.")
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or f"work_dirs/{Path(args.config).stem}"
    if cfg.get("default_scope") == "mmseg":
        require_mmseg()
    check_config(cfg, needs, log=is_first_rank(cfg.launcher))
    if not torch.cuda.is_available():
        use_gloo(cfg)
    require_writable(cfg.work_dir)
    require_outside_data(cfg)
    # Tools that take a checkpoint put it in place of the config's.
    replaced = getattr(args, "checkpoint", None) or getattr(args, "resume", None)
    if cfg.get("load_from") is not None and not replaced:
        existing_file(cfg.load_from, "checkpoint of load_from", folder_too=True)
    prepare_ranks(cfg)
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


def drop_hooks(cfg: Config) -> None:
    """Takes the hooks that are None out of ``default_hooks``.

    mmengine does so for its own hooks only, and fails an assertion on others.
    """
    from mmdino.config_check.sections import MMENGINE_HOOKS

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
    if not isinstance(path, (str, Path)) or not str(path).strip():
        raise ValueError(f"The {kind} must be a path or an http(s) URL, got {path!r}.")
    scheme, is_address, _ = str(path).partition("://")
    if is_address and scheme not in ("http", "https"):
        raise ValueError(f"The {kind} {path!r} cannot be read: expected a path or an http(s) URL.")
    found = Path(path).exists() if folder_too else Path(path).is_file()
    if not is_address and not found:
        what = "is a folder, not a file" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"The {kind} {path!r} {what}. {advice}".rstrip())
    return path


def require_writable(
    output: str | Path, kind: str = "work dir", advice: str = "Choose another with --work-dir."
) -> None:
    """Checks that a folder can be made and written, and leaves nothing behind.

    Args:
        output: The folder.
        kind: What it is, for the message.
        advice: What to do, for the message.

    Raises:
        ValueError: If it cannot.
    """
    if "\0" in str(output):
        raise ValueError(f"The {kind} {str(output)!r} cannot be made: no name has zero bytes.")
    folder = Path(output)
    nearest_folder = next(
        parent for parent in (folder, *folder.absolute().parents) if parent.exists()
    )
    if not nearest_folder.is_dir():
        raise ValueError(
            f"The {kind} {str(output)!r} cannot be made: {str(nearest_folder)!r} is a file. "
            f"{advice}"
        )
    try:
        with tempfile.TemporaryDirectory(dir=nearest_folder):
            pass
    except OSError as error:
        raise ValueError(
            f"The {kind} {str(output)!r} cannot be written: {error.strerror}. {advice}"
        ) from error


def require_writable_file(path: str | Path, option: str) -> None:
    """Checks that a file can be written, and leaves nothing behind.

    Args:
        path: The file.
        option: The option that names it, for the message.

    Raises:
        ValueError: If it cannot, or is a folder.
    """
    if Path(path).is_dir():
        raise ValueError(f"{option} {printable(path)} is a folder. Give a file.")
    require_writable(Path(path).parent, f"folder of {option}", "Choose another file.")


def require_outside_data(cfg: Config) -> None:
    """Checks that the output of a run does not go among its images.

    Raises:
        ValueError: If the work dir is the folder of a data set, or within one of ``ImageFolder``
            without a list, which takes new folders for classes and figures for images.
    """
    work_dir = Path(cfg.work_dir).resolve()
    for dataset in datasets_of(cfg.to_dict()):
        root, prefix = dataset.get("data_root"), dataset.get("data_prefix") or ""
        if not isinstance(root, str) or not root or not isinstance(prefix, str):
            continue
        folder = Path(root, prefix).resolve()
        is_folder = str(dataset.get("type")).rpartition(".")[2] == "ImageFolder"
        is_read_whole = is_folder and not (dataset.get("list") or dataset.get("ann_file"))
        if work_dir == folder or (is_read_whole and folder in work_dir.parents):
            raise ValueError(
                f"The work dir {str(cfg.work_dir)!r} lies in the data, {str(folder)!r}. Choose "
                "another with --work-dir."
            )


def require_outside(output: str | Path, *folders: str | Path) -> None:
    """Checks that an output is not written among images.

    Raises:
        ValueError: If it would lie in one of the folders, or is a file.
    """
    for folder in folders:
        if Path(output).resolve().is_relative_to(Path(folder).resolve()):
            raise ValueError(
                f"{printable(output)} lies in the image folder {printable(folder)}, whose pictures "
                "are the data. Give a folder elsewhere."
            )
    if Path(output).is_file():
        raise ValueError(f"{printable(output)} is a file. Give a folder.")


def datasets_of(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yields the dicts of a config that have a ``data_root``."""
    if isinstance(node, Mapping):
        if "data_root" in node and "type" in node:
            yield node
        for member in node.values():
            yield from datasets_of(member)
    elif isinstance(node, (list, tuple)):
        for member in node:
            yield from datasets_of(member)


def progress_bar(total: int = 0) -> ProgressBar:
    """Returns a bar on the terminal; where there is none, as in a log file, it shows nothing.

    Args:
        total: Number of tasks, 0 where it is not known.
    """
    from mmengine.utils import ProgressBar

    return ProgressBar(total, file=sys.stderr if sys.stderr.isatty() else io.StringIO())


def check_fps(parser: argparse.ArgumentParser, fps: float | None) -> None:
    """Ends the program with a message if the frames per second that were given are out of range."""
    least, most = FPS_RANGE
    if fps is not None and not least <= fps <= most:
        parser.error(f"--fps must be within {least} and {most}, not {fps}")
