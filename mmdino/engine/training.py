"""A training run from a checked config."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmdino.config_check.top_level import runner_class
from mmdino.engine.checkpoints import Search, checkpoint_to_resume
from mmdino.utils.command_line import existing_file
from mmdino.utils.folder_lock import lock_folder
from mmdino.utils.ranks import is_first_rank

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
    runner = runner_class(cfg).from_cfg(cfg)
    if resumed is not None:
        runner.logger.info(f"Resuming from {resumed}.")
    runner.train()
    return runner


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
