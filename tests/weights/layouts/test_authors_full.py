"""The authors' full checkpoint is converted to the state dict of DINO and back."""

from __future__ import annotations

import pytest
import tiny_weights
import torch

from mmdino.weights.files import read_checkpoint
from mmdino.weights.layouts.authors_full import authors_checkpoint, dino_state_dict


@pytest.mark.parametrize("wrap_teacher", [False, True])
@pytest.mark.parametrize("use_bn", [False, True])
def test_student_teacher_heads_and_centre_are_all_there(tmp_path, use_bn, wrap_teacher):
    model = tiny_weights.dino(use_bn)
    path = tiny_weights.save_authors_full(tmp_path / "full.pth", model, wrap_teacher)
    state = dino_state_dict(read_checkpoint(path))
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_names_written_are_the_authors():
    state = tiny_weights.dino().state_dict()
    checkpoint = authors_checkpoint(state, epoch=7)
    assert checkpoint["epoch"] == 7
    assert checkpoint["dino_loss"]["center"].shape == (1, 32)
    qkv, gain = "backbone.blocks.1.attn.qkv.weight", "head.last_layer.weight_g"
    assert torch.equal(
        checkpoint["student"][f"module.{qkv}"], state["backbone.layers.1.attn.qkv.weight"]
    )
    assert torch.equal(checkpoint["teacher"][gain], state[f"teacher.{gain}"])


def test_a_teacher_with_batch_norm_is_wrapped_as_the_authors_do():
    checkpoint = authors_checkpoint(tiny_weights.dino(use_bn=True).state_dict())
    assert all(name.startswith("module.") for name in checkpoint["teacher"])
    assert "epoch" not in checkpoint


@pytest.mark.parametrize("use_bn", [False, True])
def test_round_trip(use_bn):
    state = tiny_weights.dino(use_bn).state_dict()
    back = dino_state_dict(authors_checkpoint(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("checkpoint", [{}, {"state_dict": {}}, {"teacher": {}}])
def test_other_files_are_none(checkpoint):
    assert dino_state_dict(checkpoint) is None
