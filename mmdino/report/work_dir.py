"""What a work dir says of its training run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mmdino.comparison.log import last_iteration, read_log
from mmdino.engine.checkpoints import WRITTEN
from mmdino.engine.hooks.collapse_monitor_hook import Told, told_collapse
from mmdino.report.curves import curves_of_log, read_curves
from mmdino.utils.config_text import literal_config
from mmdino.utils.folder_lock import LOCK
from mmdino.utils.printable import printable
from mmdino.visualization import TrainingCurves
from mmdino.weights.files import map_checkpoint

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

State = Literal["finished", "running", "stopped"]
LINE = re.compile(r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - mmengine - ([A-Z]+) - (.*)")
"""A line of mmengine's log file: time, level and message."""
RESUMED = re.compile(r"resumed epoch: \d+, iter: (\d+)")
"""What mmengine says when it has loaded a checkpoint to go on from."""
TRAINED = re.compile(r"Epoch\(train\)\s+\[\s*\d+\]\[\s*\d+/\s*(\d+)\]")
"""The beginning of a line of values, with the iterations of an epoch."""
WORKED = re.compile(r"(?:Epoch|Iter)\(train\)|Saving checkpoint at \d")
"""What is in the log of a start that has trained."""
RESUMING = re.compile(r"^resume = True$", re.MULTILINE)
"""What is in the config, and with it in the log, of a start that is to go on from a checkpoint."""
ENVIRONMENT = re.compile(r"    ([\w ]+): (.+)")
LEFT_OUT = ("PyTorch compiling details", "cudnn_benchmark", "mp_cfg", "dist_cfg")
"""Entries of the environment that are long, or in the config."""
DEPRECATED = "will be deprecated"
"""In warnings of OpenMMLab's packages about themselves."""
LEVELS = ("WARNING", "ERROR", "CRITICAL")
LONGEST_MESSAGE = 2000


class Message(NamedTuple):
    """A warning or an error in the log, or a start of the run."""

    time: str
    level: str
    text: str


class SavedCheckpoint(NamedTuple):
    """A checkpoint in the work dir."""

    path: Path
    iteration: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run, as its work dir describes it.

    Attributes:
        folder: The work dir.
        config_path: File of the config; None if there is none.
        config_text: Its text.
        curves: Values by iteration.
        state: Whether it has finished, a process is at it, or neither.
        done: Iterations done at the last value that was logged.
        total: Iterations of the whole run; None if it is not known.
        messages: Warnings, errors and starts in the log, in order.
        environment: Versions and devices that the log names.
        collapse: What the log says of a collapse; None for nothing.
        checkpoints: Checkpoints of this run, by iteration.
        unreadable: Checkpoints that cannot be read, each with the reason.
        written: When the log was last written to, in its own time zone; empty without a log.
    """

    folder: Path
    config_path: Path | None = None
    config_text: str = ""
    curves: TrainingCurves = field(default_factory=TrainingCurves)
    state: State = "stopped"
    done: int = 0
    total: int | None = None
    messages: Sequence[Message] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    collapse: Told | None = None
    checkpoints: Sequence[SavedCheckpoint] = ()
    unreadable: Sequence[str] = ()
    written: str = ""

    @property
    def name(self) -> str:
        """The name of the work dir: configs of two runs may have the same one."""
        return self.folder.resolve().name

    @property
    def config(self) -> dict[str, Any]:
        """The config, from its text."""
        return literal_config(self.config_text)

    def when(self, iteration: int) -> str:
        """Says the iterations done, as epochs where the run counts them."""
        if not iteration:
            return "untrained"
        epoch = self.curves.iterations_per_epoch
        if not epoch or iteration % epoch:
            return f"iteration {iteration:,}"
        return f"epoch {iteration // epoch:,}"


def read_run(folder: Path, state: State | None = None) -> Run:
    """Reads what a work dir has of a run; a part that is not there stays empty.

    Args:
        folder: The work dir.
        state: State of the run, where the caller knows it.

    Raises:
        FileNotFoundError: If there is no such folder, or it is no work dir.
        ValueError: If the file of the curves, or the config, is damaged.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise FileNotFoundError(
            f"The work dir {printable(folder)!r} {what}: give the folder of a training run, by "
            "default work_dirs/<name of the config>."
        )
    logs, has_start = _logs_of_run(folder, state is not None or is_in_use(folder))
    config_path = _config(folder, logs)
    config_text = "" if config_path is None else _text(config_path)
    config = literal_config(config_text)
    texts = [_text(path) for path in logs]
    curve_file = folder / _curve_file(config)
    is_of_earlier_run = has_start and _is_older(curve_file, logs[0], texts[0])
    curves = None if is_of_earlier_run else read_curves(curve_file)
    if curves is None and not logs:
        raise FileNotFoundError(_no_work_dir(folder))
    starts = [path.stem for path in logs]
    if curves is None:
        epochs = [int(number) for text in texts for number in TRAINED.findall(text)]
        training = read_log(folder, starts).training
        curves = curves_of_log(training, epochs[-1] if epochs else None)
    run = Run(folder=folder, config_path=config_path, config_text=config_text, curves=curves)
    messages = [message for text in texts for message in _messages(text)]
    checkpoints, unreadable = _checkpoints(folder, starts[0] if has_start else "")
    done = max(
        curves.last_iteration,
        last_iteration(folder, starts),
        checkpoints[-1].iteration if checkpoints else 0,
    )
    total = _total(config.get("train_cfg"), curves.iterations_per_epoch)
    if state is None:
        finished = total is not None and done >= total
        state = "finished" if finished else "running" if is_in_use(folder) else "stopped"
    return replace(
        run,
        state=state,
        done=done,
        total=total,
        messages=messages,
        environment=_environment(texts[-1]) if texts else {},
        collapse=told_collapse(message.text for message in messages),
        checkpoints=checkpoints,
        unreadable=unreadable,
        written=_last_time(texts[-1]) if texts else "",
    )


def is_in_use(folder: Path) -> bool:
    """Returns whether a process of this machine has the lock of a work dir."""
    path = folder / LOCK
    if fcntl is None or not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:  # some network file systems have no locks
            return False
    return False


def _curve_file(config: Mapping[str, Any]) -> str:
    """Returns the name of the file that TrainingFigureHook writes beside its figure."""
    hooks = config.get("default_hooks")
    hook = hooks.get("training_figure") if isinstance(hooks, Mapping) else None
    name = hook.get("filename") if isinstance(hook, Mapping) else None
    return str(Path(name if isinstance(name, str) else "training.png").with_suffix(".json"))


def _logs_of_run(folder: Path, is_alive: bool) -> tuple[list[Path], bool]:
    """Returns the logs of the last run in a folder, and whether the first is that of its start.

    The others are those of its resumes.

    A start that has neither resumed nor trained, such as a failed attempt to resume, is of this run
    only if it is the newest, for its messages.

    Args:
        folder: The work dir.
        is_alive: Whether the newest start is at work.
    """
    found: list[Path] = []
    for path in sorted(folder.glob("*/*.log"), reverse=True):
        if path.stem != path.parent.name:
            continue
        text = _text(path)
        # tools/test.py writes its log there too.
        if "(test)" in text and "(train)" not in text:
            continue
        has_resumed = RESUMED.search(text) is not None
        begins = is_alive and not found and not RESUMING.search(text)
        counts = has_resumed or begins or WORKED.search(text)
        if counts or not found:
            found.insert(0, path)
        if counts and not has_resumed:
            return found, True
    return found, False


def _is_older(path: Path, log: Path, text: str) -> bool:
    """Returns whether a file, if there is one, was written before a log began.

    The log's lines may be of another time zone than this machine's. So it began at the time of its
    file, less what passed from its first line to its last.
    """
    times = [
        datetime.strptime(line[1], "%Y/%m/%d %H:%M:%S")
        for line in map(LINE.fullmatch, text.splitlines())
        if line
    ]
    if not times or not path.is_file():
        return False
    # The lines have whole seconds.
    began = log.stat().st_mtime - (times[-1] - times[0]).total_seconds() - 1
    return path.stat().st_mtime < began


def _config(folder: Path, logs: Sequence[Path]) -> Path | None:
    """Returns the config of a run: what mmengine wrote into its work dir."""
    files = list(folder.glob("*.py"))
    if files:
        return max(files, key=lambda path: (path.stat().st_mtime, path.name))
    copies = [copy for log in logs if (copy := log.parent / "vis_data" / "config.py").is_file()]
    return copies[-1] if copies else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _messages(text: str) -> list[Message]:
    found = []
    for line in filter(None, map(LINE.fullmatch, text.splitlines())):
        when, level, message = line.groups()
        if DEPRECATED in message:
            continue
        if level in LEVELS:
            found.append(Message(when, level, message[:LONGEST_MESSAGE]))
        elif resumed := RESUMED.fullmatch(message):
            found.append(Message(when, level, f"Resumed from iteration {int(resumed[1]):,}."))
    return found


def _environment(text: str) -> dict[str, str]:
    """Returns what the beginning of a log says of versions and devices."""
    head = text.partition(" - Config:")[0]
    entries = dict(ENVIRONMENT.findall(head))
    return {name: value for name, value in entries.items() if name not in LEFT_OUT}


def _total(train_cfg: object, iterations_per_epoch: int | None) -> int | None:
    """Returns the number of iterations that a config asks for."""
    if not isinstance(train_cfg, Mapping):
        return None
    iterations, epochs = train_cfg.get("max_iters"), train_cfg.get("max_epochs")
    if isinstance(iterations, int):
        return iterations
    is_known = isinstance(epochs, int) and iterations_per_epoch
    return epochs * iterations_per_epoch if is_known else None


def _checkpoints(folder: Path, start: str) -> tuple[list[SavedCheckpoint], list[str]]:
    """Returns the checkpoints of the last run in a folder, and why others cannot be read.

    Args:
        folder: The work dir.
        start: When that run began, as mmengine names the folder of its log; empty if it is not
            known.
    """
    found, unreadable = [], []
    for path in sorted(folder.glob("*.pth")):
        try:
            meta = map_checkpoint(path).get("meta")
        except (OSError, ValueError) as error:
            unreadable.append(str(error))
            continue
        iteration = meta.get("iter") if isinstance(meta, Mapping) else None
        # mmengine's time is of the same clock and zone as the start, wherever the report is made.
        if isinstance(iteration, int) and str(meta.get("time", start)) >= start:
            written = meta.get(WRITTEN)
            written = written if isinstance(written, float) else path.stat().st_mtime
            found.append((written, SavedCheckpoint(path, iteration)))
    found.sort(key=lambda each: (each[0], each[1].iteration))
    # One of an iteration is enough; beyond the newest are those of an earlier run, if its log is
    # not there.
    by_iteration = {
        checkpoint.iteration: checkpoint
        for _, checkpoint in found
        if checkpoint.iteration <= found[-1][1].iteration
    }
    return [by_iteration[iteration] for iteration in sorted(by_iteration)], unreadable


def _last_time(text: str) -> str:
    """Returns the time of the last line of a log."""
    times = [line[1] for line in map(LINE.fullmatch, text.splitlines()) if line]
    return times[-1].replace("/", "-")[:-3] if times else ""


def _no_work_dir(folder: Path) -> str:
    """Says what is missing in a folder, and where it may be."""
    below = sorted({path.parent for path in folder.glob("*/training.json")})
    advice = f" Did you mean {printable(below[0])!r}?" if below else ""
    return (
        f"The folder {printable(folder)!r} is no work dir of a training run: it has neither "
        "training.json, which the training figure's hook writes, nor a log, TIME/TIME.log."
        f"{advice}"
    )
