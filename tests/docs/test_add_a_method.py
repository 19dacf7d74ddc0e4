"""The worked example of docs/add_a_method.md trains as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import tiny_run

ROOT = Path(__file__).parents[2]
SMALL = [
    "train_dataloader.dataset.num_images=64",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.dataset.num_images=40",
    "val_cfg.bank_dataloader.dataset.num_images=40",
    "train_cfg.max_epochs=2",
]


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
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools/train.py"), "vicreg_shapes.py", "--cfg-options", *SMALL],
        cwd=tmp_path,
        env=tiny_run.script_env(PYTHONPATH=f"{ROOT}:{tmp_path}"),
        capture_output=True,
        text=True,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    work_dir = tmp_path / "work_dirs/vicreg_shapes"
    assert (work_dir / "epoch_2.pth").is_file()
    assert (work_dir / "training.png").is_file()
    assert "knn/top1" in output
    assert "feature_std" in output
