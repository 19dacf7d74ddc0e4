"""One check of a whole config."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmdino.config_check.components import Walk
from mmdino.config_check.registries import is_scope
from mmdino.config_check.run_length import check_run_length
from mmdino.config_check.sections import check_sections
from mmdino.config_check.top_level import check_top_level, runner_class


def check_config(
    cfg: Config | Mapping[str, Any], needs: Collection[str] = ("model",), log: bool = True
) -> list[str]:
    """Checks a config before anything is built from it.

    Every dict with a type is compared with the signature of what it names, in the registry that
    mmengine would look in: unknown and missing arguments, types of numbers and texts, and the
    ranges of what mmengine reads. So are the sections and the top-level keys. Nothing is built, and
    no data are read. Keys of classes that take any keyword are refused only if they are one letter
    away from one that is known.

    Args:
        cfg: The config of a run, as :class:`mmengine.runner.Runner` takes it.
        needs: Sections that it must have.
        log: Whether to log as warnings what is returned.

    Returns:
        A line for everything that is allowed but may not be meant, such as a key that nothing
        reads.

    Raises:
        ValueError: If anything is wrong, with one line for each: the path of the key, what is
            wrong with it, and the nearest right name.

    Example:
        >>> cfg = Config.fromfile("configs/dino_demo.py")
        >>> cfg.train_cfg.max_epoch = 3
        >>> check_config(cfg)
        ValueError: The config has 1 mistake:
          train_cfg.max_epoch: ResumableTrainLoop has no 'max_epoch'; did you mean max_epochs?
    """
    scope = cfg.get("default_scope") or "mmengine"
    walk = Walk(scope)
    if not isinstance(scope, str) or not is_scope(scope):
        raise ValueError(
            f"The config has default_scope={scope!r}, but no project of that name is installed. "
            "It is 'mmpretrain' for pretraining and classification, 'mmseg' for segmentation."
        )
    for key in needs:
        if cfg.get(key) is None:
            walk.problems.add(key, "it is missing, and this tool needs it")
    check_sections(walk, cfg)
    doubts = check_run_length(cfg, walk.problems)
    doubts += check_top_level(cfg, runner_class(cfg), walk.problems)
    messages = walk.problems.messages()
    if messages:
        count = f"{len(messages)} mistake{'s' if len(messages) > 1 else ''}"
        raise ValueError("\n  ".join([f"The config has {count}:", *messages]))
    for doubt in doubts if log else ():
        print_log(doubt, logger="current", level=logging.WARNING)
    return doubts
