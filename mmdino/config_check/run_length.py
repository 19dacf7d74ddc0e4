"""Checks of lengths and intervals against the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from mmdino.config_check.problems import Problems, join

HOOKS = ("LastLayerFreezeHook", "QueueStartHook", "TeacherTempWarmupHook")
"""Hooks whose ``epochs`` are those of a beginning."""
ENDLESS = "InfiniteSampler"
"""mmengine's sampler for loops that count iterations."""


def check_run_length(cfg: Mapping[str, Any], problems: Problems) -> list[str]:
    """Checks that what happens at the beginning of a run ends within it.

    Args:
        cfg: The config.
        problems: Gets what is longer than the run.

    Returns:
        A line for each length that is that of the run, for each of mmengine's schedules that does
        not come to its end, and for schedules that end before the run: they may be meant, but
        change what the run is.
    """
    loop = cfg.get("train_cfg")
    if not isinstance(loop, Mapping):
        return []
    doubts = [*_left_out(cfg, loop), *_ends_early(cfg, loop)]
    _check_end(cfg, loop, problems)
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


def _check_end(cfg: Mapping[str, Any], loop: Mapping[str, Any], problems: Problems) -> None:
    """Checks that an epoch has an end, where the run is counted in epochs."""
    loader = cfg.get("train_dataloader")
    sampler = loader.get("sampler") if isinstance(loader, Mapping) else None
    kind = sampler.get("type") if isinstance(sampler, Mapping) else None
    if "max_epochs" in loop and str(kind).rpartition(".")[2] == ENDLESS:
        problems.add(
            "train_dataloader.sampler.type",
            f"{ENDLESS} has no end, so no epoch has one; take 'mmdino.EpochSampler', or a loop of "
            "train_cfg.max_iters",
        )


def _left_out(cfg: Mapping[str, Any], loop: Mapping[str, Any]) -> list[str]:
    """Lines about validations and checkpoints that the run does not come to."""
    key = "max_epochs" if "max_epochs" in loop else "max_iters"
    run, doubts = loop.get(key), []
    # Loops validate after the last epoch or iteration, whatever the interval.
    told = {"val_interval": "only its end is validated", "val_begin": "training is not validated"}
    for name, what in told.items():
        first = loop.get(name)
        is_beyond = _is_number(first) and _is_number(run) and first > run
        if is_beyond and cfg.get("val_cfg") is not None:
            doubts.append(
                f"train_cfg.{name}={first:g} is beyond the run of {run:g} (train_cfg.{key}): "
                f"{what}."
            )
    hooks = cfg.get("default_hooks") or {}
    saves = [hook for _, hook in _members(cfg.get("custom_hooks"), "custom_hooks")]
    is_left_out = isinstance(hooks, Mapping) and hooks.get("checkpoint", {}) is None
    if is_left_out and not any("CheckpointHook" in str(hook.get("type")) for hook in saves):
        doubts.append(
            "default_hooks.checkpoint is None: no checkpoint is written, so none can be resumed."
        )
    return doubts


def _ends_early(cfg: Mapping[str, Any], loop: Mapping[str, Any]) -> Iterator[str]:
    """A line if the last of mmengine's schedules of the rate ends before the run."""
    key = "max_epochs" if "max_epochs" in loop else "max_iters"
    # Those of the other unit are warm-ups.
    members = [
        (path, scheduler)
        for path, scheduler in _members(cfg.get("param_scheduler"), "param_scheduler")
        if str(scheduler.get("type")).endswith("LR")
        and bool(scheduler.get("by_epoch", True)) is (key == "max_epochs")
    ]
    if not members:
        return
    path, last = max(members, key=lambda member: _end_of(member[1]))
    end, run = _end_of(last), loop.get(key)
    if _is_number(run) and end < run:
        yield (
            f"{join(path, 'end')}={end:g} is before the end of the run of {run:g} "
            f"(train_cfg.{key}): the rest has the last rate. Without an end a schedule ends with "
            "the run."
        )


def _end_of(scheduler: Mapping[str, Any]) -> float:
    """Where a schedule ends; infinity if that is the end of the run."""
    end = scheduler.get("end")
    return end if _is_number(end) else math.inf


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
