"""A checkpoint written before all methods got one frame loads and resumes as it would have then.

tests/data/checkpoint_before_frame.pth is from after the first of two epochs of the run below, and
checkpoint_before_frame_end.npz is the state of its end, both by version 0.1.0 of November 2026.
"""

from __future__ import annotations

import numpy as np
import pytest
import tiny_run
import torch
from conftest import DATA

CHECKPOINT = DATA / "checkpoint_before_frame.pth"


def build(work_dir, **options):
    dataset = tiny_run.RandomViews(8, torch.float64)
    runner = tiny_run.build(work_dir, dataset=dataset, load_from=str(CHECKPOINT), **options)
    runner.model.double()
    return runner


def test_resumed_run_ends_where_it_ended(tmp_path):
    """Weights, optimiser state, centre and schedules are taken over, and nothing computed moved."""
    runner = build(tmp_path, resume=True)
    runner.train()
    state = runner.model.state_dict()
    with np.load(DATA / "checkpoint_before_frame_end.npz") as expected:
        assert set(expected) == set(state)
        for name, tensor in state.items():
            torch.testing.assert_close(
                tensor, torch.from_numpy(expected[name]), rtol=0, atol=1e-12, msg=name
            )


@pytest.mark.parametrize("matched", [True, False], ids=["CheckpointMatchHook", "mmengine alone"])
def test_weights_load_whole(tmp_path, matched):
    hooks = [{"type": "mmdino.CheckpointMatchHook"}] if matched else []
    runner = build(tmp_path, custom_hooks=tiny_run.hooks() + hooks)
    runner.load_or_resume()
    saved = torch.load(CHECKPOINT, weights_only=False)["state_dict"]
    assert list(saved) == list(runner.model.state_dict())
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
