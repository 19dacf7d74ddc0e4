"""A checkpoint of another network is refused, not loaded in part."""

from __future__ import annotations

import copy

import pytest
import tiny_run
import torch


@pytest.fixture
def runner(tmp_path):
    hooks = [*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}]
    return tiny_run.build(tmp_path, custom_hooks=hooks)


def load(runner, state, tmp_path):
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    runner.load_checkpoint(str(tmp_path / "other.pth"))


def test_its_own_weights_load(runner, tmp_path):
    state = copy.deepcopy(runner.model.state_dict())
    state["dino_loss.center"] += 1
    load(runner, state, tmp_path)
    assert torch.equal(runner.model.dino_loss.center, torch.ones(1, 32))


def test_missing_unknown_and_misshapen_tensors_are_named(runner, tmp_path):
    state = dict(runner.model.state_dict())
    state.pop("backbone.cls_token")
    state["backbone.layers.2.ln1.weight"] = torch.ones(12)
    state["head.mlp.0.weight"] = torch.ones(3, 3)
    with pytest.raises(ValueError, match="does not fit the model") as error:
        load(runner, state, tmp_path)
    for part in (
        "1 are missing (backbone.cls_token)",
        "1 have another shape (head.mlp.0.weight (3, 3) instead of (16, 12))",
        "1 are not in the model (backbone.layers.2.ln1.weight)",
    ):
        assert part in str(error.value)
