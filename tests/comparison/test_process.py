"""The process of a training ends with all that it started."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from mmdino.comparison import process as processes
from mmdino.comparison.process import TrainingProcess

WORKER = """
import os, signal, sys, time
if not os.fork():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.write(1, f"worker {os.getpid()}\\n".encode())
    time.sleep(600)
    os._exit(0)
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
os.write(1, b"ready\\n")
time.sleep(600)
"""


def is_running(pid):
    """Whether a process is there and not a zombie, which nobody waits for in a container."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["obedient", "stubborn"])
def test_workers_that_ignore_an_interruption_are_killed(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(processes, "SECONDS_TO_END", 1.0)
    log = tmp_path / "train.log"
    process = TrainingProcess([sys.executable, "-c", WORKER, kind], log)
    while not {"worker", "ready"} <= set(log.read_text().split()):
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    worker = int(log.read_text().split("worker ")[1].split()[0])
    assert is_running(worker)
    process.end()
    assert process.exit_code is not None
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(worker)
