"""``--cfg-options``: changes to a config from the command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmdino.config_check.sections import MMENGINE_HOOKS
from mmdino.config_check.spelling import did_you_mean, nearest
from mmdino.config_check.top_level import keys_of_runner, runner_class


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
        section, *names = key.split(".")
        # A longer key is an argument of a hook, which may be None.
        if section != "default_hooks" or len(names) != 1 or value is not None:
            continue
        (name,) = names
        if name not in known:
            raise ValueError(
                f"--cfg-options {key}=None would change nothing: default_hooks has no {name!r}. "
                f"It has {', '.join(sorted(known))}."
            )
