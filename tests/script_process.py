"""Scripts and tools as processes of their own.

A new process takes ten seconds of a processor to import mmpretrain. These are forks of one that has
done so, and has no tensor yet.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing import connection, forkserver
from pathlib import Path

from tiny_run import SCRIPTS, script_env

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["script_imports"])
TIMEOUT = 900
"""Seconds, for a busy machine."""


class ScriptProcess:
    """A running script, on one thread and without a GPU.

    Args:
        script: Path of the script, or the name of one of ``tests/scripts``.
        *arguments: Its arguments.
        cwd: Folder that it runs in, the present one by default.
        **variables: What its environment has beside.
    """

    def __init__(self, script, *arguments, cwd=".", **variables):
        env = script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo", **variables)
        with _environment(env):  # what the server is started with
            forkserver.ensure_running()
        self.command = [str(SCRIPTS / script), *map(str, arguments)]
        self.streams = [tempfile.NamedTemporaryFile(suffix=".txt") for _ in range(2)]  # noqa: SIM115
        names = [stream.name for stream in self.streams]
        given = (self.command, env, os.path.abspath(cwd), names)
        self.process = PROCESSES.Process(target=_run, args=given)
        self.process.start()

    def wait_for(self, words):
        """Waits until it has printed some words."""
        while words not in Path(self.streams[0].name).read_text(errors="replace"):
            assert self.process.is_alive(), self.wait().stderr
            time.sleep(0.1)

    def wait(self):
        """Waits for its end; returns what ``subprocess.run`` would."""
        self.process.join(TIMEOUT)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
        written = []
        for stream in self.streams:
            with stream:
                written.append(Path(stream.name).read_text(errors="replace"))
        assert code is not None, f"it did not end:\n{written[1]}"
        return subprocess.CompletedProcess(self.command, code, *written)


def run_script(script, *arguments, **options):
    """Runs a script to its end, which must be without an error; returns it as ``wait`` does."""
    ended = ScriptProcess(script, *arguments, **options).wait()
    assert ended.returncode == 0, ended.stderr[-5000:]
    return ended


def run_ranks(script, *arguments, ranks=2, **options):
    """Runs a script as ranks, as torchrun does; returns their ends.

    They have the environment that it gives, and one that fails has the others ended.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared = {"WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = []
    for rank in range(ranks):
        own = {"RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks}
        variables = {name: str(value) for name, value in {**shared, **own}.items()}
        started.append(ScriptProcess(script, *arguments, **variables, **options))
    running = {each.process.sentinel: each.process for each in started}
    while running and (ended := connection.wait(running, TIMEOUT)):
        processes = [running.pop(sentinel) for sentinel in ended]
        if any(process.exitcode for process in processes):
            for process in running.values():
                process.terminate()
    return [each.wait() for each in started]


@contextlib.contextmanager
def _environment(variables):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(command, variables, folder, streams):
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    # A shell in the background has processes ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not that of this process, which loader workers would have to be pickled for.
    multiprocessing.set_start_method("fork", force=True)
    for stream, name in enumerate(streams, start=1):
        target = os.open(name, os.O_WRONLY)
        os.dup2(target, stream)
        os.close(target)
    sys.argv = command
    places = variables["PYTHONPATH"].split(os.pathsep)
    sys.path[:0] = [os.path.dirname(command[0]), *(each for each in places if each not in sys.path)]
    runpy.run_path(command[0], run_name="__main__")
