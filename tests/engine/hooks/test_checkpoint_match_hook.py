"""A checkpoint of another network is an error, and an authors' full file is converted."""

from __future__ import annotations

import argparse
import copy

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS

from mmdino.weights.layouts.authors_full import authors_checkpoint


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
    with pytest.raises(ValueError, match="does not match the model") as error:
        load(runner, state, tmp_path)
    for part in (
        "1 missing: backbone.cls_token",
        "1 of another shape: head.mlp.0.weight (3, 3) instead of (16, 12)",
        "1 unexpected: backbone.layers.2.ln1.weight",
    ):
        assert part in str(error.value)


@pytest.fixture
def authors_file(tmp_path):
    """A full file as the authors' code writes it, and the model with the same tensors."""
    torch.manual_seed(1)
    other = MODELS.build(tiny_run.vit_model())
    other.init_weights()
    with torch.no_grad():
        other.dino_loss.center += 0.5
        for tensor in other.teacher.parameters():
            tensor += 0.01
    path = tmp_path / "dino_full.pth"
    content = authors_checkpoint(other.state_dict(), epoch=4)
    torch.save({**content, "args": argparse.Namespace(arch="vit"), "optimizer": {}}, path)
    return path, other


def test_a_run_starts_from_the_authors_full_file(tmp_path, authors_file):
    path, other = authors_file
    runner = tiny_run.build(
        tmp_path / "run",
        custom_hooks=[*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}],
        load_from=str(path),
        log_level="INFO",
        **tiny_run.validation(),
    )
    start = {}

    class Start(Hook):
        def after_val_epoch(self, runner, metrics=None):
            start.setdefault(runner.iter, copy.deepcopy(runner.model.state_dict()))

    runner.register_hook(Start())
    runner.train()
    torch.testing.assert_close(dict(start[0]), dict(other.state_dict()), rtol=0, atol=0)
    log = tiny_run.log_text(runner)
    assert f"Converted an authors' file: {len(other.state_dict())} tensors" in log
    assert log.index("knn/top1") < log.index("Epoch(train)")


def test_no_run_is_resumed_from_a_file_of_the_authors(tmp_path, authors_file):
    hooks = [*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}]
    runner = tiny_run.build(
        tmp_path / "run", custom_hooks=hooks, load_from=str(authors_file[0]), resume=True
    )
    with pytest.raises(
        ValueError, match=r"cannot be resumed from an authors' file.*load_from=FILE"
    ):
        runner.train()
