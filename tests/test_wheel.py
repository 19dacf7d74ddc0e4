"""The built wheel works outside of the checkout: configs, tools, command and model index."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tiny_tools import SHORT_DEMO

ROOT = Path(__file__).parents[1]
FOUND = """
import mmdino
from mmengine.hub import get_config
from mmpretrain import list_models
print(get_config("mmdino::dino_vits16.py").filename)
print(*list_models("dino_*"))
"""


def test_the_wheel_works_outside_of_the_checkout(tmp_path):
    # The packages of this environment, without its mmdino and without a path to the checkout.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command):
        return subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", ROOT, "--no-deps", "-q", "-w", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    run(*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
    packages = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    command = tmp_path / "env" / "bin" / "mmdino"
    assert "\n  train " in run(command, "--help")
    assert "problem" not in run(command, "doctor")
    config, models = run(python, "-W", "ignore", "-c", FOUND).splitlines()[-2:]
    assert Path(config) == packages / "mmdino" / ".mim" / "configs" / "dino_vits16.py"
    assert "dino_vits16" in models.split()
    run(command, "train", "dino_demo", "--cfg-options", *SHORT_DEMO)
    assert (tmp_path / "work_dirs" / "dino_demo" / "epoch_2.pth").is_file()
