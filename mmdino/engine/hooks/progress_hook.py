"""Progress of a run on a terminal."""

from __future__ import annotations

import atexit
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import Runner
from rich.console import Console

from mmdino.engine.status import headlines, result_line, status_line, status_of
from mmdino.registry import HOOKS
from mmdino.utils.progress import duration
from mmdino.utils.terminal_line import AboveLine, TerminalLine

SECONDS_BETWEEN = 0.2
"""Shortest time between two states of the line."""
BEGUN = ENDED = (0, 0)
"""A validation whose batches are not counted."""


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows one line with the state of the training on a terminal, in place of mmengine's lines.

    A head of four lines says what is trained, on what, and where to; results of validations,
    warnings and what is printed go above the line. All of mmengine's lines are in the log file.
    Where standard output is no terminal (a file, a pipe, SLURM), and in all processes but the main
    one, the hook does nothing.

    Example:
        >>> default_hooks = dict(progress=dict(type="mmdino.ProgressHook"))
        >>> default_hooks = dict(progress=None)  # mmengine's lines on a terminal too
    """

    # Its output begins before that of all other hooks, and ends before their summaries.
    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._line: TerminalLine | None = None
        self._replaced: list[tuple[logging.Logger, list[logging.Handler]]] = []
        self._above: list[AboveLine] = []
        self._started = self._shown = 0.0

    def before_run(self, runner: Runner) -> None:
        """Takes over from mmengine's lines, if it is a training and there is a terminal."""
        is_training = isinstance(getattr(runner, "optim_wrapper", None), BaseOptimWrapper)
        if not is_training or self._line is not None or not is_main_process():
            return
        if not sys.stdout.isatty():
            return
        console = Console(file=sys.stdout)
        if console.is_dumb_terminal:
            return
        self._line = TerminalLine(console)
        self._replace_handlers(runner.logger)
        # For programs that train without mmdino.engine.training, if an error ends them.
        atexit.register(self.close)

    def before_train(self, runner: Runner) -> None:
        """Prints the head."""
        if self._line is None:
            return
        self._started = time.monotonic()
        for text in headlines(runner):
            self._line.say(text)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Updates the line."""
        self._show(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Says that a validation has begun."""
        self._show(runner, validation=BEGUN, at_once=True)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Says how far a validation is."""
        self._show(runner, validation=(batch_idx + 1, len(runner.val_dataloader)))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Prints the results of a validation."""
        if self._line is None:
            return
        self._line.say(result_line(status_of(runner, validation=ENDED), metrics or {}))

    def after_train(self, runner: Runner) -> None:
        """Removes the line; what other hooks say at the end is printed as it is."""
        if self._line is None:
            return
        self._line.say(f"Trained in {duration(time.monotonic() - self._started)}.")
        self._line.close()
        for above in self._above:
            above.setLevel(logging.INFO)

    def after_run(self, runner: Runner) -> None:
        """Lets mmengine's lines go on."""
        self.close()

    def close(self) -> None:
        """Removes the line, also where training was interrupted."""
        if self._line is None:
            return
        self._line.close()
        self._line = None
        for logger, handlers in self._replaced:
            logger.handlers[:] = handlers
        self._replaced, self._above = [], []
        atexit.unregister(self.close)

    def _replace_handlers(self, logger: logging.Logger) -> None:
        self._replaced.append((logger, list(logger.handlers)))
        terminal = [handler for handler in logger.handlers if is_terminals(handler)]
        filters = [each for handler in terminal for each in handler.filters]
        for handler in terminal:
            logger.handlers.remove(handler)
        self._above.append(AboveLine(self._line, filters))
        logger.addHandler(self._above[-1])

    def _show(
        self, runner: Runner, validation: tuple[int, int] | None = None, at_once: bool = False
    ) -> None:
        now = time.monotonic()
        if self._line is None or (now - self._shown < SECONDS_BETWEEN and not at_once):
            return
        self._shown = now
        self._line.show(status_line(status_of(runner, validation), self._line.width))


def is_terminals(handler: logging.Handler) -> bool:
    """Returns whether a handler of mmengine's logger writes to the terminal and not to a file."""
    return isinstance(handler, logging.StreamHandler) and not isinstance(
        handler, logging.FileHandler
    )
