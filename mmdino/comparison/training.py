"""Trains the runs of a comparison, each as a process of tools/train.py."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mmdino.comparison.log import last_iteration, last_lines
from mmdino.comparison.machine import describe_machine
from mmdino.comparison.plan import Run
from mmdino.comparison.process import TrainingProcess
from mmdino.comparison.progress import Progress
from mmdino.comparison.record import Record, save_record
from mmdino.engine.checkpoints import newest_checkpoint

LOG = "train.log"
"""File in the folder of a run with what tools/train.py printed."""
SECONDS_BETWEEN_LOOKS = 0.3
SECONDS_BETWEEN_SAVES = 5.0
"""Seconds of a run whose usage is lost if the comparison is killed."""


@dataclass
class Job:
    """A run that is being trained.

    Attributes:
        run: The run.
        record: Its record, whose last attempt is this one.
        process: The process.
        first: Iterations that it resumed from.
        saved: When the record was last written, on the monotonic clock.
    """

    run: Run
    record: Record
    process: TrainingProcess
    first: int
    saved: float = field(default_factory=time.monotonic)

    def save(self) -> None:
        """Writes what the process has used so far."""
        self.record.attempts[-1] = asdict(self.process.usage())
        self.saved = time.monotonic()
        save_record(self.run, self.record)


def train_command(tool: Path, run: Run, folder: Path, options: Sequence[str] = ()) -> list[str]:
    """Returns the command that trains a run.

    Args:
        tool: Path of tools/train.py.
        run: The run.
        folder: Its work dir.
        options: Further changes to the config.
    """
    return [
        *(sys.executable, str(tool), run.method.config, "--work-dir", str(folder)),
        *("--cfg-options", *run.options, *options),
    ]


def threads_per_job(jobs: int) -> int | None:
    """Returns OMP_NUM_THREADS for each of several processes; None where it is set, or for one."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, (os.cpu_count() or 1) // jobs)


def train_all(
    records: Sequence[tuple[Run, Record]], tool: Path, jobs: int, progress: Progress
) -> None:
    """Trains all runs that are not trained yet, and notes in their records how they ended.

    A run with a whole checkpoint resumes from it. One that fails leaves the others alone.

    Args:
        records: The runs and their records.
        tool: Path of tools/train.py.
        jobs: How many train at a time.
        progress: Is told what happens.
    """
    waiting = deque((run, record) for run, record in records if record.state != "trained")
    running: list[Job] = []
    threads = threads_per_job(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(*waiting.popleft(), tool, threads, progress))
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for job in list(running):
                if job.process.poll() is not None:
                    running.remove(job)
                    _finish(job, progress)
                    continue
                progress.trained(job.run, max(job.first, last_iteration(job.run.folder)))
                if time.monotonic() - job.saved > SECONDS_BETWEEN_SAVES:
                    job.save()
    finally:
        for job in running:
            job.process.end()
            job.save()


def _start(run: Run, record: Record, tool: Path, threads: int | None, progress: Progress) -> Job:
    run.folder.mkdir(parents=True, exist_ok=True)
    command = train_command(tool, run, run.folder)
    checkpoint = newest_checkpoint(run.folder).found
    if checkpoint is not None:
        command.append("--resume")
    record.command, record.state, record.error = command, "training", ""
    record.machine = describe_machine(threads)
    record.attempts.append({})
    first = 0 if checkpoint is None else checkpoint.iteration
    job = Job(run, record, TrainingProcess(command, run.folder / LOG, threads), first)
    job.save()
    progress.started(run, first)
    return job


def _finish(job: Job, progress: Progress) -> None:
    code = job.process.exit_code
    if code == 0:
        job.record.state = "trained"
    else:
        log = job.run.folder / LOG
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        job.record.state = "failed"
        job.record.error = "\n".join([f"{how}, see {log}", *last_lines(log)])
    job.save()
    progress.finished(job.run, job.record.usage.elapsed_s, job.record.error)
