"""Reading a config from its files."""

from __future__ import annotations

import ast
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import mmengine
import yaml
from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError

from mmdino.shipped import where_configs_are

SUFFIXES = (".py", ".json", ".yaml", ".yml")
BASE_VARIABLE = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")


def read_config(path: str) -> Config:
    """Reads a config and the files that it is based on.

    Args:
        path: Path of the config.

    Raises:
        FileNotFoundError: If it, or a file that it is based on, does not exist.
        ValueError: If it is no config or has no keys, or a file has an error of syntax or fails
            when it runs; with the name of the file and the line.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"The config {path!r} is a folder. Name one of the files in it.")
    if not file.is_file():
        raise FileNotFoundError(f"The config {path!r} does not exist. {where_configs_are(path)}")
    if file.suffix not in SUFFIXES:
        raise ValueError(
            f"The config {path!r} ends in {file.suffix!r}; expected one of {', '.join(SUFFIXES)}."
        )
    for _ in files_of(file):
        pass
    try:
        cfg = Config.fromfile(path)
    except ImportError as error:
        # mmengine's own message is a page of search paths.
        reason = error.__cause__ or error
        raise ValueError(
            f"The config {path!r} imports what cannot be imported: {reason}. Set PYTHONPATH to the "
            "folder of your modules."
        ) from error
    # A config is a program of the user's, which may fail in any way, or end.
    except (Exception, SystemExit) as error:
        raise ValueError(f"{_place(error, path)}{type(error).__name__}: {error}") from error
    if not len(cfg):
        raise ValueError(f"The config {path!r} has no keys. {where_configs_are(path)}")
    return cfg


def _place(error: Exception, path: str) -> str:
    """Where the code of a config failed, in words."""
    frames = traceback.extract_tb(error.__traceback__)
    library = str(Path(mmengine.__file__).parent)
    own = [f for f in frames if Path(f.filename).is_file() and not f.filename.startswith(library)]
    own = [frame for frame in own if Path(frame.filename) != Path(__file__)]
    if own:
        return f"The config {path!r} fails in {own[-1].filename}, line {own[-1].lineno}: "
    return f"The config {path!r} cannot be read: "


def files_of(file: Path, asked_by: tuple[Path, ...] = ()) -> Iterator[tuple[Path, str]]:
    """Yields a config and, after it, the files that it is based on, each with its text.

    Args:
        file: Path of the config.
        asked_by: Paths of the files that led to it, the last of which is based on it.

    Raises:
        FileNotFoundError: If one does not exist.
        ValueError: If one has an error of syntax or is based on itself.
    """
    if not file.is_file():
        raise FileNotFoundError(
            f"The config {str(asked_by[-1])!r} is based on {os.path.normpath(file)!r}, which does "
            "not exist. Correct its _base_."
        )
    if file.resolve() in asked_by:
        raise ValueError(f"The config {os.path.normpath(file)!r} is based on itself.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"The config {str(file)!r} is no text in UTF-8: {error}.") from error
    _check_syntax(file, text)
    yield file, text
    for base in _bases(file, text):
        yield from files_of(base, (*asked_by, file.resolve()))


def _check_syntax(file: Path, text: str) -> None:
    try:
        if file.suffix == ".py":
            ast.parse(text)
        else:
            loaded = yaml.safe_load(text) if file.suffix != ".json" else mmengine.load(file)
            if not isinstance(loaded, dict):
                raise ValueError(f"it holds {loaded!r:.40}; expected keys with values")
    except SyntaxError as error:
        raise ValueError(
            f"The config {str(file)!r} has an error of syntax in line {error.lineno}: {error.msg}."
        ) from error
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"The config {str(file)!r} cannot be read: {reason}.") from error


def _bases(file: Path, text: str) -> list[Path]:
    """Paths of the files that a config names in ``_base_``."""
    if file.suffix == ".py" and Config._is_lazy_import(str(file)):
        return list(_imported_bases(file, text))
    try:
        named = Config._get_base_files(str(file))
        return [Path(Config._get_cfg_path(name, str(file))[0]) for name in named]
    except (ConfigParsingError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"The _base_ of the config {str(file)!r} cannot be read: {error}."
        ) from error


def _imported_bases(file: Path, text: str) -> Iterator[Path]:
    """Paths of the files that a config imports within ``with read_base()``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            base = file.parents[node.level - 1].joinpath(*node.module.split("."))
            if base.with_suffix(".py").is_file():
                yield base.with_suffix(".py")


def names_used(file: Path) -> set[str]:
    """Returns the variables that a config and the files that it is based on make use of."""
    used = set()
    for path, text in files_of(file):
        used |= {name.split(".")[0] for name in BASE_VARIABLE.findall(text)}
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    used.add(node.id)
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    used.add(node.attr)
    return used
