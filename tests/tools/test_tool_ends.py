"""Every tool ends through run_tool; some are run to such an end, as from a shell."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from script_process import ScriptProcess

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path for path in (ROOT / "tools").rglob("*.py") if "__main__" in path.read_text())
CONFIG = ROOT / "configs" / "dino_vitt4_cifar10.py"


def end(tool, *arguments):
    """Runs a tool and returns its exit code and the lines on stderr, without warnings."""
    ended = ScriptProcess(ROOT / "tools" / tool, *arguments).wait()
    lines = ended.stderr.splitlines()
    return ended.returncode, [line for line in lines if not re.search("[Ww]arn", line)]


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: str(path.relative_to(ROOT / "tools")))
def test_every_tool_ends_through_run_tool(path):
    text = path.read_text()
    assert 'if __name__ == "__main__":\n    run_tool(main)\n' in text
    assert "argparse.ArgumentParser(" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py", "no_such.py"], "error: The config 'no_such.py' does not exist."),
        (
            ["model_converters/extract.py", "none.pth", "new.pth"],
            "error: The weight file 'none.pth' does not exist.",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(arguments, message):
    code, lines = end(*arguments)
    assert code == 2
    assert [line for line in lines if line.startswith(message)] == lines[-1:]
    assert "Traceback (most recent call last):" not in lines


def test_debug_shows_the_traceback():
    code, lines = end("knn.py", "no_bank", "no_bank", "--debug")
    assert code == 2
    assert "Traceback (most recent call last):" in lines
    assert lines[-1].startswith("error: There is no feature bank in no_bank.")


@pytest.mark.slow
def test_an_interrupted_run_says_so(tmp_path, small):
    # A worker that was handing over its images would tell that nobody takes them.
    here = ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
    options = [*small, *here, "train_cfg.max_epochs=1000"]
    arguments = ["--work-dir", tmp_path, "--cfg-options", *options]
    running = ScriptProcess(ROOT / "tools" / "train.py", CONFIG, *arguments)
    running.wait_for("Epoch(train)")
    os.kill(running.process.pid, signal.SIGINT)
    ended = running.wait()
    assert ended.returncode == 130
    assert ended.stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in ended.stderr
