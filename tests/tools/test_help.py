"""``--help`` of every tool answers without importing what takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import tiny_run

from mmdino_cli.main import INTERNAL

TOOLS = Path(__file__).parents[2] / "tools"
SCRIPT = """
import contextlib, io, json, os, runpy, sys
found = {}
for path in sys.argv[1:]:
    help = io.StringIO()
    sys.path.insert(0, os.path.dirname(path))  # as Python does for a script
    with contextlib.redirect_stdout(help), contextlib.suppress(SystemExit):
        runpy.run_path(path)["main"](["--help"])
    slow = {"torch", "mmengine", "mmcv", "mmpretrain", "matplotlib", "sklearn"}
    heavy = sorted(slow & set(sys.modules))
    found[path] = [help.getvalue().split(" ")[0], heavy]
print(json.dumps(found))
"""


def test_help_of_every_tool_imports_nothing_that_takes_long():
    paths = sorted([*TOOLS.glob("*.py"), *TOOLS.glob("model_converters/*.py")])
    paths = [str(path) for path in paths if path.stem not in INTERNAL]
    assert len(paths) > 15
    # One process for all: what the first ones import, the last ones have.
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *paths],
        env=tiny_run.script_env(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {path: ["usage:", []] for path in paths}
