"""A checkpoint of another network is an error, and an authors' full file is converted."""

from __future__ import annotations

import argparse
import copy

import pytest
import tiny_run
import tiny_weights
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope

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


@pytest.mark.parametrize("classifier", [False, True])
def test_released_weights_say_how_to_train_heads(runner, tmp_path, classifier):
    """Released files have a backbone alone, those of other projects perhaps a classifier."""
    released = tiny_weights.authors_names(runner.model.backbone.state_dict())
    if classifier:
        released["head.weight"] = torch.ones(5, 12)
    with pytest.raises(ValueError, match=r"no heads, as released .*dinov2_continue_vits14\.py"):
        load(runner, released, tmp_path)


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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The checkpoint of a run of two epochs."""
    work_dir = tmp_path_factory.mktemp("written")
    hook = {"type": "mmdino.CheckpointHook", "interval": 1}
    init_default_scope("mmpretrain")
    tiny_run.build(
        work_dir,
        epochs=2,
        default_hooks={"checkpoint": hook},
        cfg={"model": tiny_run.vit_model(), "optim_wrapper": {"optimizer": {"type": "AdamW"}}},
    ).train()
    return torch.load(work_dir / "epoch_1.pth", weights_only=False)


def three_heads():
    model = tiny_run.vit_model()
    model["backbone"]["arch"] = {**tiny_run.ARCH, "num_heads": 3}
    return model


def with_nan(checkpoint):
    checkpoint["state_dict"]["head.mlp.2.bias"].fill_(float("nan"))


def reshaped_moment(checkpoint):
    checkpoint["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7)


def reversed_parameters(checkpoint):
    for group in checkpoint["optimizer"]["param_groups"]:
        group["params"].reverse()


def infinite_moment(checkpoint):
    checkpoint["optimizer"]["state"][0]["exp_avg_sq"].fill_(float("inf"))


def replaced(name, value, part=None):
    def change(checkpoint):
        (checkpoint[part] if part else checkpoint)[name] = value

    return change


def without(*names):
    def change(checkpoint):
        for name in names:
            checkpoint.pop(name)

    return change


SGD = {"wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}}}


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            None,
            {"model": three_heads(), "cfg": {"model": three_heads()}},
            r"another network, .*model\.backbone\.arch\.num_heads is 3, 2 in the checkpoint",
        ),
        (with_nan, {}, r"not finite: 1 tensor\(s\) .*head\.mlp\.2\.bias\. Use an earlier one"),
        (lambda checkpoint: checkpoint["state_dict"].clear(), {}, "its state_dict is empty"),
    ],
)
def test_weights_that_fit_only_by_their_shapes_are_refused(
    tmp_path, written, change, options, message, resume
):
    load_changed(tmp_path, written, change, message, resume=resume, **options)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            without("meta"),
            {},
            r"it has no meta\.epoch, meta\.iter\. To start a new run .*load_from",
        ),
        (without("optimizer"), {}, "it has no optimizer"),
        (without("message_hub"), {}, "it has no message_hub"),
        (None, {**SGD, "cfg": {"optim_wrapper": SGD["wrapper"]}}, "AdamW, but the config has SGD"),
        (lambda checkpoint: checkpoint["meta"].pop("cfg"), SGD, "the state of another optimiser"),
        (replaced("optimizer", 4), {}, "it has no optimizer"),
        (replaced("message_hub", 4), {}, "it has no message_hub"),
        (replaced("epoch", "3", "meta"), {}, r"it has no meta\.epoch"),
        (replaced("seed", "abc", "meta"), {}, "the seed 'abc': expected 0 to 4294967295"),
        (replaced("seed", -1, "meta"), {}, "the seed -1: expected 0 to 4294967295"),
        (replaced("optimizer", {}), {}, "it has no param_groups or no state"),
        (replaced("param_groups", [], "optimizer"), {}, "it has 0 parameters in 0 groups, the run"),
        (reshaped_moment, {}, r"exp_avg of parameter 0 has the shape \(7,\), the parameter"),
        (reversed_parameters, {}, r"of parameter \d+ has the shape"),
        (infinite_moment, {}, r"optimiser in the checkpoint is not finite: .*exp_avg_sq"),
        (without("param_schedulers"), {}, r"of 0 scheduler\(s\), but the config has 2"),
        (replaced("param_schedulers", [{"a": 1}, {}]), {}, r"of 0 scheduler\(s\)"),
        (None, {"param_scheduler": []}, r"of 2 scheduler\(s\), but the config has 0"),
        (replaced(3, torch.ones(1), "state_dict"), {}, "a tensor named 3, of type int"),
        (replaced("backbone.cls_token", "x", "state_dict"), {}, "values that are no tensors"),
    ],
)
def test_a_run_resumes_only_from_a_checkpoint_of_a_run_like_it(
    tmp_path, written, change, options, message
):
    load_changed(tmp_path, written, change, message, resume=True, **options)


def load_changed(tmp_path, checkpoint, change, message, **options):
    checkpoint = copy.deepcopy(checkpoint)
    if change is not None:
        change(checkpoint)
    torch.save(checkpoint, tmp_path / "changed.pth")
    hooks = [*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}]
    runner = tiny_run.build(
        tmp_path / "run", custom_hooks=hooks, load_from=str(tmp_path / "changed.pth"), **options
    )
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_weights_alone_start_a_run_of_another_optimiser(tmp_path, written):
    torch.save({"state_dict": written["state_dict"]}, tmp_path / "weights.pth")
    hooks = [*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}]
    runner = tiny_run.build(
        tmp_path / "run", custom_hooks=hooks, load_from=str(tmp_path / "weights.pth"), **SGD
    )
    runner.train()


def test_changes_since_the_checkpoint_are_told(tmp_path, written):
    checkpoint = copy.deepcopy(written)
    checkpoint["optimizer"]["state"] = {}
    checkpoint["meta"]["num_images"] = 7
    torch.save(checkpoint, tmp_path / "changed.pth")
    changed = {"type": "AdamW", "betas": (0.5, 0.9)}
    runner = tiny_run.build(
        tmp_path / "run",
        custom_hooks=[*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}],
        load_from=str(tmp_path / "changed.pth"),
        resume=True,
        log_level="INFO",
        cfg={"model": tiny_run.vit_model(), "optim_wrapper": {"optimizer": changed}},
    )
    runner.train()
    log = tiny_run.log_text(runner)
    assert "Resuming with changes: optim_wrapper.optimizer.betas is [0.5, 0.9], was None" in log
    assert "the data set has 12 images, had 7" in log
    assert "the checkpoint has no moments of the optimiser" in log


def test_nothing_is_told_of_a_run_that_goes_on_as_it_was(tmp_path, written):
    torch.save(written, tmp_path / "same.pth")
    runner = tiny_run.build(
        tmp_path / "run",
        custom_hooks=[*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}],
        load_from=str(tmp_path / "same.pth"),
        resume=True,
        log_level="INFO",
        cfg={"model": tiny_run.vit_model(), "optim_wrapper": {"optimizer": {"type": "AdamW"}}},
    )
    runner.train()
    assert "Resuming with changes" not in tiny_run.log_text(runner)


def test_a_config_too_long_to_compare_is_told(tmp_path, written):
    checkpoint = copy.deepcopy(written)
    checkpoint["meta"]["cfg"] = "x = 1\n" * 200_000
    torch.save(checkpoint, tmp_path / "long.pth")
    runner = tiny_run.build(
        tmp_path / "run",
        custom_hooks=[*tiny_run.hooks(), {"type": "mmdino.CheckpointMatchHook"}],
        load_from=str(tmp_path / "long.pth"),
        resume=True,
        log_level="INFO",
    )
    runner.train()
    assert "1200000 characters, too long to compare" in tiny_run.log_text(runner)
