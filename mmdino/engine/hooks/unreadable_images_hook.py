"""The count of images that could not be read."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS

RECORD = "unreadable_images"


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Names each training image that ``ImageFolder`` skipped, and stops when there are too many.

    The record is in the checkpoint, so a resumed run goes on counting.

    Args:
        limit: Number of different unreadable files that a run may skip, on each rank.

    Raises:
        ValueError: If the limit is negative, or from the run when it is exceeded.

    Example:
        >>> custom_hooks = [dict(type="mmdino.UnreadableImagesHook", limit=100)]
    """

    def __init__(self, limit: int = 100) -> None:
        if limit < 0:
            raise ValueError(f"UnreadableImagesHook got limit={limit}; it may not be negative.")
        self.limit = limit

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Takes up what the batch says it had to skip."""
        record = list(runner.message_hub.runtime_info.get(RECORD, []))
        known = len(record)
        for sample in data_batch.get("data_samples") or []:
            record += [path for path in sample.get("skipped_paths", ()) if path not in record]
        if len(record) == known:
            return
        runner.message_hub.update_info(RECORD, record)
        for path in record[known:]:
            runner.logger.warning(f"Skipped an image that cannot be read: {path}")
        if len(record) > self.limit:
            raise ValueError(
                f"{len(record)} training images could not be read, more than the limit of "
                f"{self.limit}. The last was {record[-1]}. Repair or remove the files named in the "
                "log, or raise limit in dict(type='mmdino.UnreadableImagesHook', limit=...)."
            )
