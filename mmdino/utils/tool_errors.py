"""How the tools end: one line for what the user can mend, a traceback for what we can."""

from __future__ import annotations

import argparse
import dis
import errno
import linecache
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import mmdino

# torch and mmengine take seconds to import, which --help and a wrong option do not need: they are
# imported where an error is explained.

OPENMMLAB = ("mmengine", "mmcv", "mmpretrain", "mmseg")
OWN_INVARIANTS = (AssertionError, NotImplementedError)
"""What this project's code raises where a promise of its own is broken."""
IN_WORKER = re.compile(r"Caught \w+ in .*\.\nOriginal Traceback \(most recent call last\):\n")
WORKER_FRAME = re.compile(r'^  File "(.+)", line (\d+), in .*\n', re.MULTILINE)
ADVICE = {
    errno.ENOENT: "check the path",
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or take fewer workers",
    errno.EACCES: "take another path, or another user",
    errno.EPERM: "take another path, or another user",
    errno.EROFS: "take another path",
    errno.EEXIST: "take another path, or remove it",
    errno.ENOTDIR: "a file is where a folder is needed",
    errno.EISDIR: "a folder is where a file is needed",
}
"""What to do about errors of the system that do not say it."""
LOST_CONNECTION = "no connection to another process of this run, which has ended"
SMALLER = "out of memory: take smaller batches or images, or a smaller network"
UNWRITTEN = "a file could not be written, which happens where the disk is full: free some space"
TORCH_ERRORS = {
    "EADDRINUSE": "another program uses the port: choose another (PORT=29501 tools/dist_train.sh)",
    "gloo/transport": LOST_CONNECTION,
    "DataLoader worker (pid": "a process that loads images was ended; if nobody did so, memory was "
    "short: take fewer workers (train_dataloader.num_workers, --workers)",
    "can't allocate memory": SMALLER,
    "iostream error": UNWRITTEN,
    "unexpected pos": UNWRITTEN,
    "PytorchStreamWriter failed": UNWRITTEN,
}
"""What torch's RuntimeErrors mean, by words in them; it has no classes for these."""
LONGEST = 2000
"""Characters of a message of another package, which may quote a whole config."""
PRECEDENCE = 30.0
"""Seconds that a rank waits for its launcher to end it because another one has failed first; on a
busy machine the first rank may be as much later."""


class ToolParser(argparse.ArgumentParser):
    """Parser of a tool; adds ``--debug``, which :func:`run_tool` reads."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_argument(
            "--debug",
            action="store_true",
            # It is no setting, and some tools write theirs down.
            default=argparse.SUPPRESS,
            help="show the traceback of every error",
        )


class Origin(NamedTuple):
    """Where an error comes from."""

    path: str
    """File of the innermost frame."""
    is_raised: bool
    """Whether a statement of that file raised it, and not something that it called."""
    built: str | None = None
    """Name of what was being built from a config; None if nothing was."""

    def is_in(self, *folders: Path) -> bool:
        """Whether the file is below one of the folders."""
        return any(Path(self.path).is_relative_to(folder) for folder in folders)


def run_tool(main: Callable[[], None]) -> NoReturn:
    """Runs the main function of a tool and ends the process.

    What the user can mend is printed as one line, ``error: <message>``, with exit code 2;
    ``--debug`` on the command line shows its traceback too. All else keeps its traceback and exit
    code 1. Either is written to the log of the run, if there is one. Ctrl-C gives exit code 130.

    Args:
        main: Reads the command line and does the work.
    """
    debug = "--debug" in sys.argv[1:]
    try:
        main()
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        if _rank() == 0:
            _print_line("interrupted")
        sys.exit(130)
    # Nothing is swallowed: what has no message for the user goes on to Python's own report.
    except Exception as error:
        message = user_message(error, Path(main.__code__.co_filename).parent)
        details = traceback.format_exc()
        _write_to_log(details if message is None else f"error: {message}")
        _leave_precedence(error)
        if message is None:
            raise
        if debug:
            sys.stderr.write(details)
        _print_line(f"error: {message}")
        sys.exit(2)
    sys.exit()


def user_message(error: Exception, tool_folder: Path) -> str | None:
    """Returns what to tell the user about an error, in one line; None if it is ours to mend.

    The user's are: what this project raises itself, with a ``raise`` statement; what OpenMMLab's
    packages raise so; what is refused while it is built from a config; and what the system lacks:
    files, memory, packages, other processes of the run.

    Args:
        error: The error, with its traceback.
        tool_folder: Folder of the tool that was run; its code counts as this project's.
    """
    message = _message(error, (Path(mmdino.__file__).parent, tool_folder))
    return message and _one_line(message)


def _one_line(text: str) -> str:
    """Joins lines, with a semicolon where one has no end of its own."""
    ended = re.sub(r"([.:;,?!])\s*\n\s*", r"\1 ", text.strip())
    return re.sub(r"\s*\n\s*", "; ", ended)


def _message(error: Exception, ours: tuple[Path, ...]) -> str | None:
    error = _as_raised(error)
    text = _text(error)
    if IN_WORKER.match(text):
        origin, text = _split_worker_error(text, type(error))
    else:
        origin = _origin(error)
    if origin.is_raised and origin.is_in(*ours):
        return None if isinstance(error, OWN_INVARIANTS) else text
    if isinstance(error, OSError):
        return text
    if isinstance(error, ModuleNotFoundError) and not f"{error.name}.".startswith("mmdino."):
        return f"{text}: install it."
    if trouble := _system_trouble(error):
        return f"{trouble} ({text})" if text else trouble
    if text and _is_refusal(error, origin):
        name = origin.built or type(error).__name__
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
        return f"{text if name in text else f'{name}: {text}'} (--debug shows where)"
    return None


def _as_raised(error: Exception) -> Exception:
    """Returns the TypeError of a hook that mmengine raises again, with the hook's address added."""
    first = error.__context__
    is_hooks = type(error) is TypeError and str(error).startswith(f"{first} in <")
    return first if isinstance(first, TypeError) and is_hooks else error


def _is_refusal(error: Exception, origin: Origin) -> bool:
    """Whether what a config asks for cannot be built, or code of OpenMMLab refuses it."""
    if isinstance(error, NotImplementedError):
        return False
    if origin.built and isinstance(error, (TypeError, ValueError, re.error)):
        return True  # a value that its class cannot work with, such as lr="abc"
    loaded = [sys.modules[name] for name in OPENMMLAB if name in sys.modules]
    packages = [Path(module.__file__).parent for module in loaded]
    return origin.is_raised and (bool(origin.built) or origin.is_in(*packages))


def _system_trouble(error: Exception) -> str | None:
    """Returns what has failed around the process, if that is the error."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return SMALLER
    if isinstance(error, RuntimeError):
        for words, trouble in TORCH_ERRORS.items():
            if words in str(error):
                return trouble
    return LOST_CONNECTION if isinstance(error, torch.distributed.DistError) else None


def _text(error: Exception) -> str:
    """Returns the message of an error, as it was meant to be read."""
    if isinstance(error, OSError) and error.strerror:
        advice = [ADVICE[error.errno]] if error.errno in ADVICE else []
        # The second is the target of a renaming.
        path = error.filename if error.filename2 is None else error.filename2
        names = [] if path is None else [os.fsdecode(path)]
        return ": ".join([error.strerror, *names, *advice])
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() would quote it
    if isinstance(error, AssertionError) and not error.args:
        *_, innermost = traceback.extract_tb(error.__traceback__)
        return innermost.line or ""  # what has been asserted
    return str(error)


def _origin(error: Exception) -> Origin:
    """Returns where an error was raised first."""
    from mmengine.registry import build_from_cfg

    built = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is build_from_cfg.__code__:
            kind = frame.f_locals.get("obj_type")
            built = kind if isinstance(kind, str) else getattr(kind, "__name__", None)
    innermost = error.__traceback__
    while innermost.tb_next:
        innermost = innermost.tb_next
    code = innermost.tb_frame.f_code
    instruction = dis.opname[code.co_code[innermost.tb_lasti]]
    return Origin(code.co_filename, instruction == "RAISE_VARARGS", built)


def _split_worker_error(text: str, kind: type[Exception]) -> tuple[Origin, str]:
    """Returns the origin and the message of an error in a worker of a data loader.

    torch hands on its traceback as text alone.
    """
    *_, innermost = WORKER_FRAME.finditer(text)
    path, line = innermost[1], int(innermost[2])
    message = re.split(rf"^[\w.]*{kind.__name__}: ", text[innermost.end() :], flags=re.MULTILINE)
    return Origin(path, linecache.getline(path, line).lstrip().startswith("raise ")), message[-1]


def _print_line(text: str) -> None:
    # On a terminal a progress bar may have left the cursor in the middle of a line.
    sys.stderr.write(f"\n{text}\n" if sys.stderr.isatty() else f"{text}\n")


def _write_to_log(text: str) -> None:
    """Writes to the log file of the run, but not to the terminal, where mmengine logs too."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _leave_precedence(error: Exception) -> None:
    """Waits where another rank's error is the one to print: rank 0's own, or the first of all.

    A launcher ends all ranks as soon as one has ended. If it does not, this one reports.
    """
    if _rank() > 0 or _system_trouble(error) == LOST_CONNECTION:
        time.sleep(PRECEDENCE)


def _rank() -> int:
    return int(os.environ.get("RANK", 0))
