"""A training run from a checked config."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmdino.config_check.top_level import runner_class
from mmdino.engine.checkpoints import Search, checkpoint_to_resume
from mmdino.engine.hooks.progress_hook import ProgressHook, is_terminals
from mmdino.utils.command_line import existing_file
from mmdino.utils.folder_lock import lock_folder
from mmdino.utils.ranks import is_first_rank

UNPRINTED = (
    "System environment:",
    "Config:",
    "Hooks will be executed in the following order:",
    "Distributed training is not used, all SyncBatchNorm (SyncBN) layers",
    "LR is set based on batch size of",  # "Effective batch: ..." has the resulting rate
    # Warnings of mmengine about its own calls.
    '"FileClient" will be deprecated in future.',
    '"HardDiskBackend" is the alias of "LocalBackend"',
)
"""How lines of mmengine's log begin that say nothing to who starts a run; the file has them."""
NEWEST = "auto"
"""In place of a checkpoint: the newest whole one in the work dir."""


def train(cfg: Config, resume: str | None = None) -> Runner | FlexibleRunner:
    """Trains.

    Args:
        cfg: The config, as :func:`mmdino.utils.command_line.load_config` returns it.
        resume: Checkpoint to resume from, or ``NEWEST``; None to start.

    Returns:
        The runner, when it is done.

    Raises:
        FileNotFoundError: If the checkpoint does not exist, or there is none.
        ValueError: If another process trains in the work dir.
    """
    if is_first_rank(cfg.launcher):
        # Before the runner writes its config and log there.
        lock_folder(cfg.work_dir)
    resumed = None if resume is None else resume_from(cfg, resume)
    runner = short_start(runner_class(cfg)).from_cfg(cfg)
    if resumed is not None:
        runner.logger.info(f"Resuming from {resumed}.")
    try:
        runner.train()
    finally:
        for hook in runner.hooks:
            if isinstance(hook, ProgressHook):
                hook.close()
    return runner


def short_start(runner: type[Runner | FlexibleRunner]) -> type[Runner | FlexibleRunner]:
    """Returns a runner whose first 260 lines are in the log file alone.

    These are environment, config and order of hooks, which mmengine logs while a runner is built.
    """

    class ShortStart(runner):
        def _log_env(self, *args: Any) -> None:
            # The first that mmengine logs, as soon as there is a logger.
            for handler in filter(is_terminals, self.logger.handlers):
                handler.addFilter(worth_printing)
            super()._log_env(*args)

    ShortStart.__name__ = ShortStart.__qualname__ = runner.__name__
    return ShortStart


def worth_printing(record: logging.LogRecord) -> bool:
    """Returns whether a line of mmengine's log is printed too."""
    return not record.getMessage().lstrip("-\n").startswith(UNPRINTED)


def resume_from(cfg: Config, named: str) -> str | Search:
    """Makes a config resume from a checkpoint.

    Args:
        cfg: The config.
        named: The checkpoint, or ``NEWEST``.

    Returns:
        The checkpoint, with what was passed over for it.

    Raises:
        FileNotFoundError: If it does not exist, or there is none.
    """
    cfg.resume = True
    if named != NEWEST:
        cfg.load_from = existing_file(named, "checkpoint")
        return named
    search = checkpoint_to_resume(cfg.work_dir)
    cfg.load_from = str(search.found.path)
    return search
