"""Every pretraining config trains past its freeze and its warm-up, as a user would start it."""

from __future__ import annotations

from pathlib import Path

import pytest
from script_process import run_ranks
from tiny_pretraining import arguments, assert_trained, main, write_images

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("dino_*.py"))
SHARDED = [path for path in CONFIGS if "strategy = " in path.read_text()]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path not in SHARDED], ids=lambda path: path.stem
)
def test_trains(path, images, tmp_path):
    main(arguments(path, images, tmp_path))
    assert_trained(path, tmp_path)


@pytest.mark.parametrize("path", SHARDED, ids=lambda path: path.stem)
def test_trains_sharded_over_two_processes(path, images, tmp_path):
    config, *options = arguments(path, images, tmp_path)
    # Two ranks have an epoch of one micro-batch.
    options.append("optim_wrapper.accumulative_counts=1")
    tool = ROOT / "tools" / "train.py"
    for rank in run_ranks(tool, config, *options, "--launcher", "pytorch"):
        assert rank.returncode == 0, rank.stderr
    assert_trained(path, tmp_path)
