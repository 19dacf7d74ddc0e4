"""The worked example of docs/add_a_method.md trains as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import tiny_tools
from script_process import run_script

ROOT = Path(__file__).parents[2]


def files_of_the_page():
    """Name and text of each file that the page shows."""
    page = (ROOT / "docs/add_a_method.md").read_text()
    return dict(re.findall(r"^`(\w+\.py)`.*?\n\n```python\n(.*?)^```", page, re.M | re.S))


def test_example_is_short_and_trains(tmp_path):
    files = files_of_the_page()
    assert set(files) == {"vicreg.py", "vicreg_shapes.py"}
    assert sum(len(text.splitlines()) for text in files.values()) <= 60
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    command = [ROOT / "tools/train.py", "vicreg_shapes.py", "--cfg-options", *tiny_tools.SHORT_DEMO]
    output = run_script(*command, cwd=tmp_path, PYTHONPATH=f"{ROOT}:{tmp_path}").stdout
    work_dir = tmp_path / "work_dirs/vicreg_shapes"
    assert (work_dir / "epoch_2.pth").is_file()
    assert (work_dir / "training.png").is_file()
    assert "knn/top1" in output
    assert "feature_std" in output
