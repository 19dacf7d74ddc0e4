"""Scripts of ``tests/scripts`` as processes of their own.

A new process takes seconds to import mmpretrain. These are forks of one that has done so, and has
no tensor yet.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

from tiny_run import SCRIPTS, script_env

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["mmpretrain.models", "tiny_run"])
TIMEOUT = 900
"""Seconds, for a busy machine."""


class ScriptProcess:
    """A running script, on one thread and without a GPU.

    Args:
        name: Name of the script.
        *arguments: Its arguments.
    """

    def __init__(self, name, *arguments):
        self.errors = tempfile.NamedTemporaryFile(suffix=".txt")  # noqa: SIM115
        env = script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo")
        with _environment(env):  # what the server is started with
            forkserver.ensure_running()
        given = (str(SCRIPTS / name), [str(each) for each in arguments], env, self.errors.name)
        self.process = PROCESSES.Process(target=_run, args=given)
        self.process.start()

    def wait(self):
        """Waits for its end; returns the exit code, negative for a signal, and standard error."""
        self.process.join(TIMEOUT)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
        with self.errors:
            written = Path(self.errors.name).read_text(errors="replace")
        assert code is not None, f"it did not end:\n{written}"
        return code, written


def run_script(name, *arguments):
    """Runs a script to its end, which must be without an error."""
    code, errors = ScriptProcess(name, *arguments).wait()
    assert code == 0, errors[-5000:]


@contextlib.contextmanager
def _environment(variables):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(path, arguments, variables, errors):
    os.environ.clear()
    os.environ.update(variables)
    # Not that of this process, which loader workers would have to be pickled for.
    multiprocessing.set_start_method("fork", force=True)
    for name, stream in ((os.devnull, 1), (errors, 2)):
        target = os.open(name, os.O_WRONLY)
        os.dup2(target, stream)
        os.close(target)
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(path))
    runpy.run_path(path, run_name="__main__")
