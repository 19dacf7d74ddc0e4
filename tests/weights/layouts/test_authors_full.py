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


@pytest.mark.parametrize(
    "checkpoint", [{}, {"state_dict": {}}, {"teacher": {}}, {"model": {"student.a": 1}}]
)
def test_other_files_are_none(checkpoint):
    assert dino_state_dict(checkpoint) is None


@pytest.mark.parametrize("patch_head", [False, True])
def test_a_training_file_of_dinov2_has_student_teacher_heads_and_centres(tmp_path, patch_head):
    model = tiny_weights.dinov2(patch_head)
    path = tiny_weights.save_dinov2_training_file(tmp_path / "a.pth", model, "model")
    state = dino_state_dict(read_checkpoint(path))
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_training_file_of_dinov2_with_the_teacher_alone_starts_the_student_from_it(tmp_path):
    model = tiny_weights.dinov2(patch_head=True)
    path = tiny_weights.save_dinov2_training_file(tmp_path / "a.pth", model, "teacher")
    state = dino_state_dict(read_checkpoint(path))
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    for name in expected:
        if name.endswith("center"):
            assert state[name].shape == expected[name].shape
            assert not state[name].any()
        else:
            twin = name if name.startswith("teacher.") else f"teacher.{name}"
            assert torch.equal(state[name], expected[twin])


@pytest.mark.parametrize("patch_head", [False, True])
def test_round_trip_of_dinov2(patch_head):
    state = tiny_weights.dinov2(patch_head).state_dict()
    checkpoint = authors_checkpoint(state, epoch=3)
    assert "dino_head.last_layer.weight_g" in checkpoint["teacher"]
    assert ("ibot_head.last_layer.weight_g" in checkpoint["student"]) == patch_head
    assert "backbone.blocks.1.ls1.gamma" in checkpoint["teacher"]
    back = dino_state_dict(checkpoint)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_round_trip_of_heads_of_dinov3():
    """Their last layer is a plain one."""
    state = tiny_weights.dinov2(patch_head=True).state_dict()
    for name in [name for name in state if name.endswith("last_layer.weight_v")]:
        state[name.removesuffix("_v")] = state.pop(name)
        del state[name.removesuffix("v") + "g"]
    checkpoint = authors_checkpoint(state)
    del checkpoint["ibot_patch_loss"]
    back = dino_state_dict(checkpoint)
    assert back.keys() == state.keys()
    assert back["ibot_loss.center"].shape == (1, 48)
    assert torch.equal(back["patch_head.last_layer.weight"], state["patch_head.last_layer.weight"])


def test_a_head_without_last_layer_is_damaged():
    with pytest.raises(ValueError, match=r"head without last_layer\.weight_v"):
        dino_state_dict({"teacher": {"dino_head.mlp.0.weight": torch.ones(2, 2)}})
