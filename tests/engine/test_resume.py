"""A run killed in the middle of an epoch and resumed equals one never interrupted, bit for bit."""

from __future__ import annotations

import json

import pytest
import torch
from script_process import run_script

KILL_AT = 9
"""Within the second of three epochs of five iterations."""

STEP_ENDS = (1, 3, 4, 6, 8, 9, 11, 13, 14)
"""Iterations that complete an optimiser step."""

CHECKPOINTS = {"by_iter": ("iter_7.pth", 7), "by_epoch": ("epoch_1.pth", 5)}
"""The last checkpoint before, and its iteration."""


@pytest.fixture(scope="module")
def work_dirs(tmp_path_factory):
    """Folders with the records of a killed, a resumed and an uninterrupted run."""
    folders = {style: tmp_path_factory.mktemp(style) for style in CHECKPOINTS}
    for style, (checkpoint, _) in CHECKPOINTS.items():
        arguments = (style == "by_epoch", str(folders[style]), KILL_AT, checkpoint)
        run_script("train_killed_and_resumed.py", json.dumps(arguments))
    return folders


def read(folder, name):
    """Rows of iteration, loss and whether the optimiser took a step."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("style", CHECKPOINTS)
def test_losses_and_skipped_steps_are_the_same(work_dirs, style):
    folder, resumed_at = work_dirs[style], CHECKPOINTS[style][1]
    whole = read(folder, "uninterrupted")
    assert [iteration for iteration, _, _ in whole] == list(range(15))
    assert {whole[end][2] for end in STEP_ENDS} == {True, False}, "the scaler skipped some"
    assert read(folder, "killed") == whole[:KILL_AT]
    assert read(folder, "resumed") == whole[resumed_at:]


@pytest.mark.parametrize("style", CHECKPOINTS)
def test_weights_and_optimiser_end_the_same(work_dirs, style):
    resumed, whole = (
        torch.load(work_dirs[style] / f"{name}.pth", weights_only=False)
        for name in ("resumed", "uninterrupted")
    )
    assert resumed["seed"] == whole["seed"]
    for name, tensor in whole["model"].items():
        assert torch.equal(resumed["model"][name], tensor), name
    torch.testing.assert_close(resumed["optimizer"], whole["optimizer"], rtol=0, atol=0)
