"""A training run as a process of its own: its start, its end, and what it used."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_END = 20.0
"""Seconds that a process has to end by itself before it is killed."""
PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl."""
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of the unit that the system reports memory in."""
MIB = 2**20


@dataclass(frozen=True)
class Usage:
    """What a process and those that it started have used.

    Attributes:
        elapsed_s: Seconds since its start.
        processor_s: Seconds of processor time, of all its cores together.
        memory_mib: Peak memory of the largest of its processes, in MiB.
    """

    elapsed_s: float = 0.0
    processor_s: float = 0.0
    memory_mib: float = 0.0


class TrainingProcess:
    """A process that trains, in a session of its own; it ends if this one is killed.

    Args:
        command: The command.
        log: File that its output is added to.
        threads: Value of OMP_NUM_THREADS; None leaves the environment's.
    """

    def __init__(self, command: Sequence[str], log: Path, threads: int | None = None) -> None:
        environment = dict(os.environ)
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        self.started = time.monotonic()
        self.exit_code: int | None = None
        self._usage = Usage()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )

    def poll(self) -> int | None:
        """Returns the exit code, below 0 if a signal ended it; None while it runs."""
        if self.exit_code is None:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
                # Popen would wait for it once more.
                self._process.returncode = self.exit_code
                self._usage = Usage(
                    time.monotonic() - self.started,
                    used.ru_utime + used.ru_stime,
                    used.ru_maxrss * MAXRSS_UNIT / MIB,
                )
        return self.exit_code

    def usage(self) -> Usage:
        """Returns what it has used: exact once it has ended, before that what /proc says."""
        if self.exit_code is None:
            self._usage = Usage(
                time.monotonic() - self.started,
                max(self._usage.processor_s, session_seconds(self._process.pid)),
                max(self._usage.memory_mib, _peak_memory(self._process.pid)),
            )
        return self._usage

    def end(self) -> None:
        """Interrupts it as Ctrl-C does, and kills it, with all that it started, if it does not end.

        The workers of its loader may stay when it ends, and are killed too.
        """
        if self.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        self._wait()
        with suppress(ProcessLookupError):
            # The group of its session.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_END
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)


def session_seconds(session: int) -> float:
    """Returns the processor time of a session's processes and of those that they waited for.

    Args:
        session: Id of the session, which is that of its first process.

    Returns:
        Seconds; 0 on systems without /proc.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(sum(map(int, fields[11:15])) / ticks for fields in _stats(session))


def _stats(session: int) -> Iterator[list[str]]:
    """Yields the fields of /proc/PID/stat after the command, of a session's processes."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        # It has ended meanwhile.
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = text.rpartition(")")[2].split()
        if int(fields[3]) == session:
            yield fields


def _peak_memory(pid: int) -> float:
    """Returns the peak memory of a process in MiB, 0 where /proc does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _end_with_parent() -> Callable[[], None] | None:
    """Returns what makes Linux interrupt a new process when its parent is killed; None elsewhere.

    As Ctrl-C does, since the loader's workers of a training that is killed may stay.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def end_with_parent() -> None:
        # A shell makes its background processes ignore it.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)

    return end_with_parent
