"""Checks of lengths against that of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from mmdino.config_check.problems import Problems, join

HOOKS = ("LastLayerFreezeHook", "TeacherTempWarmupHook")
"""Hooks whose ``epochs`` are those of a beginning."""


def check_run_length(cfg: Mapping[str, Any], problems: Problems) -> list[str]:
    """Checks that what happens at the beginning of a run ends within it.

    Args:
        cfg: The config.
        problems: Gets what is longer than the run.

    Returns:
        A line for each length that is that of the run, and for each of mmengine's schedules that
        does not come to its end: they may be meant, but change what the run is.
    """
    loop = cfg.get("train_cfg")
    if not isinstance(loop, Mapping):
        return []
    doubts = []
    for path, length, by_epoch, is_start in _lengths(cfg):
        key = "max_epochs" if by_epoch else "max_iters"
        run = loop.get(key)
        if not _is_number(run) or run < 1 or not _is_number(length) or length < run:
            continue
        unit = "epochs" if by_epoch else "iterations"
        text = f"{length:g} {unit} of a run of {run:g} (train_cfg.{key})"
        if is_start and length > run:
            problems.add(path, f"{text}: expected at most {run:g}, or a longer run")
        elif is_start:
            doubts.append(f"{path}={length:g}: all {text}.")
        elif length > run:
            doubts.append(f"{path}={length:g}: {text}, so the schedule does not come to its end.")
    return doubts


def _lengths(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool, bool]]:
    """Yields path, length, whether that is in epochs, and whether it is that of a beginning."""
    for path, scheduler in _members(cfg.get("param_scheduler"), "param_scheduler"):
        by_epoch = bool(scheduler.get("by_epoch", True))
        yield join(path, "warmup"), scheduler.get("warmup"), by_epoch, True
        yield join(path, "end"), scheduler.get("end"), by_epoch, False
    for section in ("default_hooks", "custom_hooks"):
        for path, hook in _members(cfg.get(section), section):
            if str(hook.get("type")).rpartition(".")[2] in HOOKS:
                yield join(path, "epochs"), hook.get("epochs"), True, True


def _members(section: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    if isinstance(section, Mapping) and "type" in section:
        yield path, section
    elif isinstance(section, Mapping):
        yield from ((join(path, key), m) for key, m in section.items() if isinstance(m, Mapping))
    elif isinstance(section, (list, tuple)):
        yield from ((join(path, i), m) for i, m in enumerate(section) if isinstance(m, Mapping))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
