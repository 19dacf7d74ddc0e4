"""Checkpoints that a full disk or a killed process cannot damage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import mmengine.hooks
from mmengine.dist import barrier, is_main_process
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.runner import Runner

from mmdino.engine.checkpoints import (
    NUM_IMAGES,
    WRITTEN,
    checkpoint_to_resume,
    newest_checkpoint,
    next_time,
    non_finite_weights,
    write_pointer,
)
from mmdino.engine.model_access import bare_model
from mmdino.engine.optimizer_state import optimizer_tensors
from mmdino.engine.progress import is_within_step
from mmdino.registry import HOOKS
from mmdino.utils.atomic_write import atomic_write, partial_path, remove_partial_writes
from mmdino.utils.folder_lock import lock_folder
from mmdino.utils.tool_errors import ADVICE
from mmdino.weights.checks import describe_non_finite, non_finite

OUTDATED = "outdated_ckpts"
"""Names, in the message hub, of files that go once the checkpoint being written is whole."""


@HOOKS.register_module()
class CheckpointHook(mmengine.hooks.CheckpointHook):
    """mmengine's ``CheckpointHook``, after which no failure leaves a run without a checkpoint.

    - A checkpoint is written in another folder, flushed to disk and then renamed; an old one is
      removed only after that, and so is the previous best one.
    - One by iterations waits for the end of its optimiser step, so that no gradient of a step is
      lost: with ``accumulative_counts=2`` and ``interval=3`` the first is ``iter_4.pth``.
    - Weights that are not finite, or an optimiser's moments, stop the run and are not written.
    - ``last_checkpoint`` is relative to the work dir, which may be moved or copied.
    - With ``resume=True`` and no ``load_from`` the run goes on from the newest checkpoint that is
      whole, and stops where there is none.
    - A second run in the same work dir is refused.

    Args:
        interval: Epochs or iterations between checkpoints; -1 for the last one only.
        out_dir: Folder of the checkpoints, on a local or mounted file system; by default the work
            dir.
        **kwargs: Other arguments of mmengine's ``CheckpointHook``.

    Raises:
        ValueError: If the interval is 0 or below -1, ``out_dir`` is remote, or ``filename_tmpl``
            is no name of a ``.pth`` file. From the run: if weights are not finite, or the work dir
            is in use.
        FileNotFoundError: From the run, if it is to resume and there is no checkpoint.
        OSError: From the run, if a checkpoint cannot be written; it names the last whole one.

    Example:
        >>> default_hooks = dict(
        ...     checkpoint=dict(type="mmdino.CheckpointHook", interval=1, max_keep_ckpts=3))
    """

    def __init__(self, interval: int = -1, out_dir: str | None = None, **kwargs: Any) -> None:
        if interval < 1 and interval != -1:
            raise ValueError(
                f"invalid interval={interval} of CheckpointHook: expected at least 1, or -1 for "
                "the last checkpoint only."
            )
        if out_dir is not None and "://" in str(out_dir):
            raise ValueError(
                f"invalid out_dir={out_dir!r} of CheckpointHook: expected a local folder. For "
                "remote storage use mmengine's: dict(type='mmengine.CheckpointHook', ...)."
            )
        super().__init__(interval=interval, out_dir=out_dir, **kwargs)
        if Path(self.filename_tmpl).name != self.filename_tmpl or not self.filename_tmpl.endswith(
            ".pth"
        ):
            raise ValueError(
                f"invalid filename_tmpl={self.filename_tmpl!r} of CheckpointHook: expected a file "
                "name that ends in .pth, such as 'epoch_{}.pth'; a run resumes from no other."
            )
        # Set before training; a validation by itself writes nothing.
        self.file_backend: BaseStorageBackend | None = None
        self._due = False
        self._outdated: list[str] = []
        self._written = 0.0

    def before_run(self, runner: Runner) -> None:
        """Locks the work dir and finds the checkpoint to resume from."""
        if is_main_process():
            lock_folder(runner.work_dir)
        if not runner._resume or runner._load_from is not None:
            return
        if hasattr(runner, "strategy"):
            raise ValueError(
                "mmengine's FlexibleRunner looks for a checkpoint before its hooks run, and does "
                "not check it. Set load_from to the checkpoint, or start the run with "
                "mmdino train --resume, which does both."
            )
        search = checkpoint_to_resume(runner.work_dir)
        runner.logger.info(f"Resuming from {search}.")
        runner._load_from = str(search.found.path)

    def before_train(self, runner: Runner) -> None:
        """Prepares the folder, also where the work dir was moved since the checkpoint."""
        super().before_train(runner)
        self._rebase(runner)
        if is_main_process():
            # Checkpoints alone: tools/compare.py writes its record beside them meanwhile.
            remove_partial_writes(self.out_dir, "*.pth")
            # Once a run, since it looks into all checkpoints of the folder.
            self._written = next_time(self.out_dir)
        # What the run that wrote the checkpoint was killed before removing.
        self._outdated = [Path(name).name for name in runner.message_hub.get_info(OUTDATED, [])]
        self._remove_outdated(runner)
        if runner.iter >= runner.max_iters:
            runner.logger.warning(
                f"Nothing is left to train: the checkpoint stands at iteration {runner.iter} of "
                f"{runner.max_iters}. To go on, raise train_cfg.max_epochs or max_iters."
            )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Saves a checkpoint if one is due and the optimiser step is complete."""
        if self.by_epoch:
            return
        self._due |= self.every_n_train_iters(runner, self.interval, self.save_begin)
        self._due |= self.save_last and self.is_last_train_iter(runner)
        if self._due and not is_within_step(runner.optim_wrapper):
            self._due = False
            runner.logger.info(f"Saving checkpoint at {runner.iter + 1} iterations")
            self._save_checkpoint(runner)

    def _save_checkpoint(self, runner: Runner) -> None:
        super()._save_checkpoint(WholeCheckpoints(runner))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Writes a checkpoint, then removes what ``max_keep_ckpts`` does not keep."""
        path = Path(self.out_dir, self.filename_tmpl.format(step))
        self.last_ckpt = str(path)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        if self.max_keep_ckpts > 0:
            self._keep(runner, step)
        # Never back, also where the clock was set so.
        self._written = max(time.time(), math.nextafter(self._written, math.inf))
        runner.save_checkpoint(
            self.out_dir,
            path.name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta={
                **meta,
                WRITTEN: self._written,
                NUM_IMAGES: len(runner.train_dataloader.dataset),
            },
            by_epoch=self.by_epoch,
            **self.args,
        )
        if is_main_process():
            write_pointer(runner.work_dir, path)
        self._remove_outdated(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Lets mmengine choose and write the best checkpoint, and removes the previous one last."""
        if not self.save_best or self.file_backend is None:
            return
        unknown = [name for name in self.key_indicators if name not in (*metrics, "auto")]
        if unknown:
            raise ValueError(
                f"CheckpointHook got save_best={unknown[0]!r}, which the validation does not give. "
                f"It gives {', '.join(metrics)}."
            )
        backend = self.file_backend
        self.file_backend = LaterRemoval(backend, partial(self._note_outdated, runner))
        try:
            super()._save_best_checkpoint(WholeCheckpoints(runner), metrics)
        finally:
            self.file_backend = backend
        self._remove_outdated(runner)

    def _keep(self, runner: Runner, step: int) -> None:
        """Notes a step as kept, and as outdated what is then too many."""
        if step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self.keep_ckpt_ids.popleft()
                self._note_outdated(runner, self.filename_tmpl.format(oldest))
            self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))

    def _note_outdated(self, runner: Runner, path: str) -> None:
        """Has a checkpoint removed once the next one, which notes it too, is whole."""
        name = Path(path).name
        # A template without a number gives one name to all.
        if name != Path(self.last_ckpt or "").name:
            self._outdated.append(name)
        runner.message_hub.update_info(OUTDATED, list(self._outdated))

    def _remove_outdated(self, runner: Runner) -> None:
        if is_main_process():
            for path in (Path(self.out_dir, name) for name in self._outdated):
                # The names come from a checkpoint, which may be somebody else's.
                if path.suffix == ".pth" and path.is_file():
                    path.unlink()
        self._outdated = []
        runner.message_hub.update_info(OUTDATED, [])

    def _rebase(self, runner: Runner) -> None:
        """Looks for the checkpoints of the resumed run here, and not where it was."""

        def here(path: str | None) -> str | None:
            return None if path is None else str(Path(self.out_dir, Path(str(path)).name))

        # mmengine forgets it, and would not write the next best checkpoint's twin.
        self.last_ckpt = here(runner.message_hub.runtime_info.get("last_ckpt"))
        if hasattr(self, "best_ckpt_path"):
            self.best_ckpt_path = here(self.best_ckpt_path)
        for metric, path in getattr(self, "best_ckpt_path_dict", {}).items():
            self.best_ckpt_path_dict[metric] = here(path)


class WholeCheckpoints:
    """A runner whose checkpoints are written whole or not at all."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
        **options: Any,
    ) -> None:
        """Has the runner write a checkpoint elsewhere, then gives it its name.

        Raises:
            ValueError: If the last loss, weights or the optimiser's moments are not finite.
            OSError: If it cannot be written.
        """
        runner, path = self._runner, Path(out_dir, filename)
        # Before the weights, whose message would name no iteration and no files.
        for hook in runner.hooks:
            if hasattr(hook, "check_unread_loss"):
                hook.check_unread_loss(runner)
        broken = non_finite_weights(bare_model(runner))
        broken += non_finite(optimizer_tensors(runner.optim_wrapper.state_dict()))
        if broken:
            raise ValueError(
                f"The weights are not finite after iteration {runner.iter + 1} "
                f"({describe_non_finite(broken)}); {path.name} was not written. Last good "
                f"checkpoint: {newest_checkpoint(out_dir)}. Resume from it with a lower learning "
                "rate, a smaller clip_grad.max_norm, or bfloat16 in place of float16."
            )
        try:
            # All ranks take part in a sharded checkpoint; of others the first has all.
            with atomic_write(path) if is_main_process() else nullcontext():
                temporary = partial_path(path)
                runner.save_checkpoint(str(temporary.parent), temporary.name, **options)
                barrier()
        except OSError as error:
            search = newest_checkpoint(out_dir)
            advice = ADVICE.get(error.errno, "see whether the disk works")
            then = ", then continue with --resume" if search.found else ""
            # As a single argument, so that nobody adds to the message by the number.
            failure = OSError(
                f"{path} could not be written: {error.strerror or error}. Last whole checkpoint: "
                f"{search}. What to do: {advice}{then}."
            )
            failure.errno = error.errno
            raise failure from error


class LaterRemoval:
    """A file backend that tells what to remove and leaves it."""

    def __init__(self, backend: BaseStorageBackend, note: Callable[[str], None]) -> None:
        self._backend = backend
        self.remove = note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
