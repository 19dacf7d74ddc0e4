"""One process at a time in a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import tiny_run

from mmdino.utils.folder_lock import lock_folder, unlock_folder

HOLDER = """
import os, sys, time
from mmdino.utils.folder_lock import lock_folder
lock_folder(sys.argv[1])
if os.fork():
    print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the lock, and a child such as a data loader's worker."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=tiny_run.script_env(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(ValueError, match=rf"in use by process {holder.pid} on .*--work-dir"):
        lock_folder(tmp_path)
    holder.kill()
    holder.wait()
    lock_folder(tmp_path)
    unlock_folder(tmp_path)


def test_the_same_process_may_lock_again(tmp_path):
    lock_folder(tmp_path / "new")
    lock_folder(tmp_path / "new" / ".." / "new")
    unlock_folder(tmp_path / "new")


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.mkdir(), lambda path: path.symlink_to(path.with_name("other"))],
)
def test_a_lock_that_is_no_plain_file_is_refused_and_left(tmp_path, make):
    (tmp_path / "other").write_text("precious")
    make(tmp_path / ".lock")
    with pytest.raises(ValueError, match=r"\.lock must be a plain file.* remove it"):
        lock_folder(tmp_path)
    assert (tmp_path / "other").read_text() == "precious"
