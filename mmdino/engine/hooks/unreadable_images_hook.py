"""Counting of unreadable training images."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.skipped_images import of_all_ranks, skipped_for
from mmdino.registry import HOOKS
from mmdino.utils.printable import printable

RECORD = "unreadable_images"


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Logs each training image that ``ImageFolder`` skipped, and stops if there are too many.

    Ranks exchange the paths every ``interval`` iterations and at the end of each epoch; a single
    process logs them at once. The paths are stored in the checkpoint, so counting survives a
    resume.

    Args:
        limit: Maximum number of distinct unreadable files of a run.
        interval: Iterations between exchanges of the ranks.

    Raises:
        ValueError: If an argument is out of range, or, from the run, if the limit is exceeded.

    Example:
        >>> custom_hooks = [dict(type="mmdino.UnreadableImagesHook", limit=100)]
    """

    def __init__(self, limit: int = 100, interval: int = 50) -> None:
        if limit < 0 or interval < 1:
            raise ValueError(
                f"invalid limit={limit}, interval={interval} of UnreadableImagesHook: expected a "
                "limit of at least 0 and an interval of at least 1."
            )
        self.limit = limit
        self.interval = interval
        self._skipped: dict[str, str] = {}

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Collects the paths that were skipped for this batch."""
        self._skipped |= skipped_for(data_batch.get("data_samples") or [])
        if get_world_size() == 1:
            due = bool(self._skipped)
        else:
            due = self.every_n_train_iters(runner, self.interval) or self.end_of_epoch(
                runner.train_dataloader, batch_idx
            )
        if due:
            self._record(runner)

    def _record(self, runner: Runner) -> None:
        skipped = of_all_ranks(self._skipped)
        self._skipped = {}
        record = list(runner.message_hub.runtime_info.get(RECORD, []))
        new = [path for path in skipped if path not in record]
        if not new:
            return
        record += new
        runner.message_hub.update_info(RECORD, record)
        for path in new:
            runner.logger.warning(f"Skipped unreadable image: {printable(path)} {skipped[path]}")
        if len(record) > self.limit:
            raise ValueError(
                f"{len(record)} training images could not be read, more than the limit of "
                f"{self.limit}; the last was {printable(record[-1])}. Repair or remove the files "
                "named in the log, or increase limit in dict(type='mmdino.UnreadableImagesHook', "
                "limit=...)."
            )
