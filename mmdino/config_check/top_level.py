"""Checks of a config's top-level keys: those that the runner reads, and variables."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from os import PathLike
from os.path import abspath
from pathlib import Path
from typing import Any

from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner, Runner

from mmdino.config_check.config_files import names_used
from mmdino.config_check.problems import Problems
from mmdino.config_check.source import keys_read
from mmdino.config_check.spelling import near_misses

SIMILAR = 0.85
"""Keys at least as similar to one of the runner's are taken for a misspelling, not a variable."""
READ_BY_OTHERS = {
    "custom_imports",  # mmengine's Config
    "env_variables",
    "read_base",
    "runner_type",  # mmengine's registry of runners
    "tta_model",  # the tools of mmpretrain and mmsegmentation
    "tta_pipeline",
}
"""Keys that are read, but not by the runner."""
CHOICES = {
    "launcher": ("none", "pytorch", "slurm", "mpi"),
    "sync_bn": ("torch", "mmcv"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET"),
}
"""Values that a key may have, beside None."""


def runner_class(cfg: Mapping[str, Any]) -> type[Runner | FlexibleRunner]:
    """Returns the class that trains from a config: mmengine's ``Runner`` if it names none.

    Raises:
        ValueError: If there is no runner of that name.
    """
    name = cfg.get("runner_type", Runner.__name__)
    found = RUNNERS.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            f"The config has runner_type={name!r}, which is not known. Leave it out for "
            "mmengine's Runner, or take 'FlexibleRunner', which has a strategy."
        )
    return found


def keys_of_runner(runner: type) -> frozenset[str]:
    """Returns the top-level keys that a class of runners reads."""
    return keys_read(runner, "cfg", attributes=False)


def check_top_level(cfg: Mapping[str, Any], runner: type, problems: Problems) -> list[str]:
    """Checks the top-level keys of a config.

    Args:
        cfg: The config.
        runner: Class of the runner.
        problems: Gets values that are wrong, and keys that are misspelt.

    Returns:
        A line that names the other keys that nothing reads, if there are any.
    """
    check_values(cfg, runner, problems)
    read = keys_of_runner(runner)
    unread = [key for key in cfg if key not in read | READ_BY_OTHERS and not key.startswith("_")]
    file = getattr(cfg, "filename", None)
    if unread and file is not None and Path(file).is_file():
        # The runner's copy of a config has its variables as keys, which nothing refers to any more,
        # and which may be called nearly as a key of the runner. The config itself was checked.
        if _is_in_work_dir(Path(file), cfg):
            return []
        used = names_used(Path(file))
        unread = [key for key in unread if key not in used]
    doubtful = []
    for key in unread:
        if _is_misspelt(key, read):
            problems.add_unknown("", key, runner.__name__, read)
        else:
            doubtful.append(key)
    if not doubtful:
        return []
    return [
        f"Nothing reads {', '.join(doubtful)} of the config. If it is a variable, that does not "
        "matter; begin its name with an underscore to say so."
    ]


def _is_in_work_dir(file: Path, cfg: Mapping[str, Any]) -> bool:
    # One that was moved has another name than in the config.
    if (file.parent / "last_checkpoint").is_file():
        return True
    work_dir = cfg.get("work_dir")
    named = isinstance(work_dir, (str, PathLike))
    return named and abspath(file.parent) == abspath(work_dir)


def _is_misspelt(key: str, read: frozenset[str]) -> bool:
    return bool(near_misses(key, read) or difflib.get_close_matches(key, read, cutoff=SIMILAR))


def check_values(cfg: Mapping[str, Any], runner: type, problems: Problems) -> None:
    """Checks the top-level keys that are no dicts."""
    for key, choices in CHOICES.items():
        value = cfg.get(key)
        is_level = key == "log_level" and isinstance(value, int)
        if value is not None and not is_level and value not in choices:
            allowed = ", ".join(map(repr, choices))
            problems.add(key, f"got {value!r}; expected one of {allowed}")
    for key in ("work_dir", "experiment_name"):
        value = cfg.get(key)
        if value is not None and not isinstance(value, (str, PathLike)):
            problems.add(key, f"got {value!r}; expected a text")
    resume = cfg.get("resume", False)
    # A FlexibleRunner takes the path of a checkpoint too.
    allowed = bool if runner is Runner else (bool, str)
    if not isinstance(resume, allowed):
        problems.add("resume", f"got {resume!r}; expected True or False")
