"""What is measured of a run whose checkpoint is gone."""

from __future__ import annotations

import re

import pytest
import tiny_comparison
import tiny_run

from mmdino.comparison.measuring import measure


@pytest.fixture
def run(tmp_path):
    """A run of a small model whose folder has no checkpoint."""
    run = tiny_comparison.run(tmp_path)
    run.method.cfg.merge_from_dict({"default_scope": "mmpretrain", "model": tiny_run.vit_model()})
    run.folder.mkdir(parents=True)
    return run


def test_parameters_are_counted_without_a_checkpoint(run):
    measured = measure(run, linear=False)
    assert measured["parameters"] > 0
    assert measured["checkpoint"] is None


@pytest.mark.parametrize("damaged", [False, True])
def test_a_linear_probe_without_a_checkpoint_says_how_to_go_on(run, damaged):
    if damaged:
        (run.folder / "epoch_1.pth").write_bytes(b"no checkpoint")
    reason = r".*epoch_1\.pth.*\." if damaged else ""
    text = rf"{re.escape(repr(str(run.folder)))} has none any more\.{reason} Remove that folder"
    with pytest.raises(FileNotFoundError, match=text) as raised:
        measure(run, linear=True)
    assert str(raised.value).endswith("or leave out the probe with --no-linear.")
    assert "--resume" not in str(raised.value)
