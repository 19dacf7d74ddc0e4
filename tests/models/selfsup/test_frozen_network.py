"""Weights that no checkpoint repeats: where they come from, and that a run keeps to their file."""

from __future__ import annotations

import copy
import hashlib

import pytest
import tiny_dinov2
import torch
from mmengine.runner.checkpoint import load_state_dict
from torch import nn

from mmdino.models.selfsup.frozen_network import FrozenNetwork

NAME = "model.frozen_teacher"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of the same network with other weights, and the model of the first."""
    folder = tmp_path_factory.mktemp("frozen")
    models = [
        tiny_dinov2.write_teacher(folder / f"{seed}.pth", seed, head=head()) for seed in (1, 2)
    ]
    return folder / "1.pth", folder / "2.pth", models[0]


def head(**options):
    return {**tiny_dinov2.larger()["head"], **options}


def build(path, advice="Train them.", **parts):
    cfg = {"backbone": tiny_dinov2.larger()["backbone"], "head": head(), **parts}
    return FrozenNetwork(NAME, cfg, path, advice)


def test_the_teacher_of_the_file_is_loaded(files):
    path, _, model = files
    frozen = build(path)
    frozen.init_weights()
    for name, tensor in model.teacher.state_dict().items():
        assert torch.equal(frozen.network.state_dict()[name], tensor), name
    assert bytes(frozen.sha256.tolist()) == hashlib.sha256(path.read_bytes()).digest()
    assert list(frozen.state_dict()) == ["sha256"]
    assert not list(frozen.parameters())


def test_it_follows_the_images_and_survives_a_copy(files):
    frozen = build(files[0])
    with pytest.raises(ValueError, match=r"no weights yet\. Call model\.init_weights\(\)"):
        frozen.for_images(torch.zeros(1))
    frozen.init_weights()
    outer = nn.Module()
    outer.frozen_teacher = frozen
    outer.train()
    parts = copy.deepcopy(outer).frozen_teacher.for_images(torch.zeros(1, dtype=torch.float64))
    assert {p.dtype for p in parts.parameters()} == {torch.float64}
    assert not any(module.training for module in parts.modules())


@pytest.mark.parametrize("load", [nn.Module.load_state_dict, load_state_dict])
def test_a_checkpoint_of_a_run_with_another_file_is_refused(files, load):
    first, second = build(files[0]), build(files[1])
    first.init_weights()
    saved = first.state_dict()
    # An evaluation needs no file, and tells a training with another one all the same.
    load(second, saved)
    assert torch.equal(second.sha256, first.sha256)
    with pytest.raises(ValueError, match=r"another file as model\.frozen_teacher: SHA-256"):
        second.init_weights()
    second.sha256.zero_()
    second.init_weights()
    with pytest.raises(ValueError, match=r"Set model\.frozen_teacher\.checkpoint to the file of"):
        load(second, saved)
    load(first, saved)


def test_a_file_without_heads_says_what_to_do(files, tmp_path):
    *_, model = files
    released = tmp_path / "released.pth"
    torch.save(model.teacher["backbone"].state_dict(), released)
    with pytest.raises(ValueError, match=r"released.pth has no teacher\.head\.\*.* Train them\."):
        build(released).init_weights()
    # A network without heads takes any file.
    backbone = FrozenNetwork(NAME, {"backbone": tiny_dinov2.larger()["backbone"]}, released)
    backbone.init_weights()
    assert backbone.is_loaded


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"head": head(out_channels=33)}, r"teacher\.head\.\* .* of another shape.* Set model\."),
        ({"head": head(num_layers=2)}, "unexpected"),
        ({"backbone": tiny_dinov2.model()["backbone"]}, "(?s)does not match VisionTransformer"),
    ],
)
def test_a_file_of_another_network_is_refused(files, parts, message):
    with pytest.raises(ValueError, match=message):
        build(files[0], **parts).init_weights()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"frozen_teacher\.checkpoint=.*none.pth' is no"):
        build(tmp_path / "none.pth").init_weights()


def test_weights_that_are_not_finite_are_refused(files, tmp_path):
    state = torch.load(files[0], weights_only=True)["state_dict"]
    state["teacher.head.mlp.0.bias"][0] = float("nan")
    torch.save({"state_dict": state}, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="not finite"):
        build(tmp_path / "nan.pth").init_weights()
