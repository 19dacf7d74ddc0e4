"""Short trials that tell how many epochs of a method fit into a time."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mmdino.comparison.log import last_iteration, last_lines, read_log
from mmdino.comparison.methods import Method
from mmdino.comparison.plan import Run
from mmdino.comparison.process import TrainingProcess
from mmdino.comparison.training import LOG, train_command
from mmdino.comparison.trial_hook import STARTED
from mmdino.utils.atomic_write import atomic_write

FOLDER, FILE = "trial", "trial.json"
PROC = Path("/proc/self")
SKIPPED = 3
"""First iterations that are not measured: memory is allocated in them."""
LEAST_ITERATIONS, LEAST_SECONDS = 20, 5.0
"""What a trial measures at least, unless the run is shorter."""
MOST_SECONDS = 120.0
"""Seconds of processor time after which fewer iterations do."""
SECONDS_BETWEEN_LOOKS = 0.05
OPTIONS = (
    "default_hooks.logger.interval=1",
    "default_hooks.trial.type=mmdino.comparison.trial_hook.TrialHook",
)
"""Changes to the config of a trial."""


@dataclass(frozen=True)
class Cost:
    """Processor time of a method in seconds.

    Attributes:
        start: To start, before the first validation or iteration.
        validation: Of a validation.
        iteration: Of an iteration.
    """

    start: float
    validation: float
    iteration: float


def epochs_in_time(method: Method, minutes: float, tool: Path, folder: Path) -> tuple[int, str]:
    """Returns the whole epochs of a method that fit into a processor time.

    Args:
        method: The method.
        minutes: Minutes of processor time, of all cores together.
        tool: Path of tools/train.py.
        folder: Folder of the comparison; the result of the trial is kept in it, so that a resumed
            comparison comes to the same epochs.

    Returns:
        The epochs, and a line that says how they were found.

    Raises:
        ValueError: If the system has no /proc, the trial fails, or not even one epoch fits.
    """
    if not PROC.is_dir():
        raise ValueError(
            f"--minutes reads the processor time of a trial in {PROC}, which this system lacks. "
            "Take --images or --epochs."
        )
    cost = _cost(method, tool, folder / method.name)
    epochs = fitting_epochs(method, cost, 60 * minutes)
    if epochs < 1:
        raise ValueError(
            f"{method.name}: an epoch of {method.iterations_per_epoch} iterations of "
            f"{cost.iteration:.3g} s does not fit into {minutes:g} minutes of processor time. "
            "Raise --minutes."
        )
    return epochs, (
        f"{method.name}: {cost.iteration:.3g} s of processor time an iteration, "
        f"{cost.validation:.3g} s a validation, {cost.start:.3g} s to start: {epochs} epochs, "
        f"{epochs * method.images_per_epoch:,} images, in {minutes:g} minutes."
    )


def fitting_epochs(method: Method, cost: Cost, seconds: float) -> int:
    """Returns how many epochs, with their validations, fit into a time after the start."""
    loop = method.cfg.train_cfg
    at_start = bool(loop.get("val_at_start"))
    epoch = method.iterations_per_epoch * cost.iteration
    epoch += cost.validation / loop.get("val_interval", 1)
    return int((seconds - cost.start - at_start * cost.validation) / epoch)


def _cost(method: Method, tool: Path, folder: Path) -> Cost:
    """Measures a method, or reads what was measured before for the same config."""
    path = folder / FILE
    run = Run(method, 0, folder / FOLDER)
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["content"] == run.content:
            return Cost(**kept["cost"])
    cost = _measure(run, tool)
    with atomic_write(path) as partial:
        partial.write_text(json.dumps({"cost": asdict(cost), "content": run.content}) + "\n")
    return cost


def _measure(run: Run, tool: Path) -> Cost:
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    process = TrainingProcess(train_command(tool, run, run.folder, OPTIONS), run.folder / LOG)
    try:
        cost = _watch(run, process)
    finally:
        process.end()
    shutil.rmtree(run.folder)
    return cost


def _watch(run: Run, process: TrainingProcess) -> Cost:
    """Follows a trial until enough is measured, or it is at its end."""
    started = validated = None
    first: tuple[int, float] | None = None
    last = (0, 0.0)
    while process.poll() is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        used = process.usage().processor_s
        if started is None and (run.folder / STARTED).is_file():
            started = used
        if validated is None and started is not None and read_log(run.folder).validation:
            validated = used
        iteration = last_iteration(run.folder)
        if first is None and iteration >= SKIPPED:
            first = (iteration, used)
        if iteration > last[0]:
            last = (iteration, used)
        if first is not None and _is_enough(last[0] - first[0], last[1] - first[1]):
            break
    else:
        if process.exit_code != 0:
            lines = "\n".join(last_lines(run.folder / LOG))
            raise ValueError(f"The trial of {run.method.name} failed: {lines}")
        last = (run.method.iterations, process.usage().processor_s)
    started = started or 0.0
    validation = max(0.0, (validated or started) - started)
    # A run that ends before enough is measured counts from its start.
    since = first if first is not None and first[0] < last[0] else (0, started + validation)
    seconds = (last[1] - since[1]) / (last[0] - since[0])
    return Cost(started, validation, max(seconds, 1e-6))


def _is_enough(iterations: int, seconds: float) -> bool:
    enough = iterations >= LEAST_ITERATIONS and seconds >= LEAST_SECONDS
    return enough or (iterations >= 1 and seconds >= MOST_SECONDS)
