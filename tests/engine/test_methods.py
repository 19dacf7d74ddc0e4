"""Runs of methods that are not DINO, with the hooks, loops and wrappers that DINO has."""

from __future__ import annotations

import functools
import json
from itertools import pairwise

import pytest
import tiny_methods
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from script_process import run_script

METHODS = tiny_methods.METHODS
COMPARING = {
    "barlow_twins": "BarlowTwinsLoss",
    "simclr": "SimCLRLoss",
    "mocov3": "MoCoV3Loss",
    "swav": "SwAVLoss",
}
"""Losses that compare the images of a batch, by method."""


def build(work_dir, name, *, hooks=(), **options):
    own = tiny_methods.hooks(name)
    return tiny_run.build(
        work_dir, **tiny_methods.options(name, custom_hooks=[*own, *hooks], **options)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs a method uninterrupted, once; gives the folder and what the model has at the end."""

    @functools.cache
    def run(name):
        folder = tmp_path_factory.mktemp(name)
        runner = build(folder, name)
        runner.train()
        return folder, runner.model.state_dict()

    return run


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(whole, tmp_path, name, epoch):
    folder, expected = whole(name)
    checkpoint = f"{folder}/epoch_{epoch}.pth"
    resumed = build(tmp_path, name, load_from=checkpoint, resume=True)
    resumed.train()
    for key, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key
    start = torch.load(checkpoint, weights_only=False)["state_dict"]
    assert any(not torch.equal(expected[key], start[key]) for key in start)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder for each method with the records of three runs."""
    folder = tmp_path_factory.mktemp("killed")
    run_script("methods_killed_and_resumed.py", folder, *METHODS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(killed, name):
    """With float16, skipped steps and accumulation; killed while SwAV's queue is filled."""
    tiny_methods.assert_resumed_is_uninterrupted(killed / name)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What a process alone and each of two ranks, replicated and sharded, saw of each method."""
    folder = tmp_path_factory.mktemp("ranks")
    run_script("methods_on_two_ranks.py", folder, *METHODS)
    return {
        name: torch.load(folder / f"{name}.pth", weights_only=False) for name in ("alone", 0, 1)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("way", ["replicated", "sharded", "resumed"])
def test_two_ranks_equal_one_process(ranks, name, way):
    """All weights, statistics and SwAV's queue, after each step; a resumed run does one epoch."""
    whole = ranks["alone"][name]
    halves = [ranks[rank][name][way] for rank in (0, 1)]
    for half in halves:
        assert (half["start"], len(half["rows"])) == ((8, 4) if way == "resumed" else (0, 12))
        for row, expected in zip(half["rows"], whole["rows"][half["start"] :], strict=True):
            assert list(row) == list(expected)
            for key, tensor in expected.items():
                torch.testing.assert_close(row[key], tensor, rtol=0, atol=1e-9, msg=key)
    assert (whole["rows"][-1]["head.fc0.weight"] - whole["rows"][0]["head.fc0.weight"]).any()
    losses = [sum(pair) / 2 for pair in zip(*(half["losses"] for half in halves), strict=True)]
    assert losses == pytest.approx(whole["losses"][halves[0]["start"] :], abs=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_four_micro_batches_of_one_are_one_batch_of_four(tmp_path, name):
    """Losses that compare images included: they see the whole batch."""
    ends = []
    for micro_batch in (1, None):
        model = tiny_methods.method(name, micro_batch=micro_batch)
        runner = build(
            tmp_path / str(micro_batch),
            name,
            model=model,
            dataset=tiny_run.RandomViews(tiny_methods.IMAGES, torch.float64),
            # Adam would make a step of the rounding where batch norm lets no gradient through.
            wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        )
        ends.append(tiny_run.train_double(runner))
    for key, tensor in ends[1].items():
        torch.testing.assert_close(ends[0][key], tensor, rtol=0, atol=1e-9, msg=key)


@pytest.mark.parametrize("name", METHODS)
def test_log_says_where_a_loss_sees_a_micro_batch_only(tmp_path, name):
    runner = build(tmp_path, name, batch_size=2, accumulative_counts=2, log_level="INFO", epochs=3)
    runner.train()
    warned = "compares the images of a batch, and with optim_wrapper.accumulative_counts=2 it sees"
    log = tiny_run.log_text(runner)
    assert log.count(f"{COMPARING.get(name)} {warned} those of a micro-batch (2 on each rank)") == (
        name in COMPARING
    )
    assert log.count(warned) == (name in COMPARING)


@pytest.mark.parametrize("name", METHODS)
def test_validation_figures_and_speed_work_as_for_dino(tmp_path, name):
    figure = {"type": "mmdino.TrainingFigureHook"}
    options = {"log_level": "INFO", **tiny_run.validation()}
    runner = build(tmp_path, name, hooks=[figure], **options)
    runner.train()
    curves = json.loads((tmp_path / "training.json").read_text())
    assert (curves["entropy_bound"] is None) == (name != "swav")
    assert len(curves["train"]["feature_std"]) == len(curves["train"]["loss"]) == 16
    assert curves["knn"]["iteration"] == [4, 8, 12, 16]
    assert (tmp_path / "training.png").stat().st_size > 10_000
    scalars = runner.message_hub.log_scalars
    assert 0 <= scalars["val/knn/top1"].current() <= 100
    for metric in ("feature_std", "images_per_s"):
        assert scalars[f"train/{metric}"].current() > 0
    assert ("train/teacher_momentum" in scalars) == (name in tiny_methods.WITH_TEACHER)
    assert "Effective batch: 4 images" in tiny_run.log_text(runner)


class Teacher(Hook):
    """Notes after each micro-batch whether the optimiser stepped, and the teacher."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        teacher, student = (tiny_run.flat(tensors) for tensors in runner.model.teacher_pairs())
        self.rows.append((runner.optim_wrapper.step_taken, teacher, student))


def test_teacher_moves_by_optimiser_step(tmp_path):
    runner = build(tmp_path, "byol", batch_size=2, accumulative_counts=2)
    watch = Teacher()
    runner.register_hook(watch)
    runner.train()
    assert [row[0] for row in watch.rows] == [False, True] * (len(watch.rows) // 2)
    # The rate of the first step is 0.
    for (_, before, _), (stepped, after, _) in pairwise(watch.rows[1:]):
        assert torch.equal(before, after) is not stepped
    assert not torch.equal(*watch.rows[-1][1:])


def test_training_without_the_teachers_hook_is_refused(tmp_path):
    runner = tiny_run.build(
        tmp_path,
        model=tiny_methods.method("byol"),
        custom_hooks=tiny_methods.hooks("byol", EMATeacherHook=None),
    )
    message = r"nothing updates its teacher\. .*dict\(type='mmdino.EMATeacherHook'\)"
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_teachers_hook_without_a_teacher_is_refused(tmp_path):
    runner = build(tmp_path, "simsiam", hooks=[{"type": "mmdino.EMATeacherHook"}])
    with pytest.raises(TypeError, match=r"StudentTeacher without one.*ema_teacher=None"):
        runner.train()


@pytest.mark.parametrize(("name", "warned"), [("collapsing", True), ("byol", False)])
def test_collapse_is_told_by_the_spread_of_features(tmp_path, name, warned):
    init_default_scope("mmpretrain")
    monitor = {"type": "mmdino.CollapseMonitorHook", "interval": 1, "patience": 2}
    runner = build(
        tmp_path,
        name,
        hooks=[{**monitor, "min_spread": 0.2}],
        epochs=10,
        param_scheduler=None,
        wrapper={"optimizer": {"type": "AdamW", "lr": 0.005}, "clip_grad": None},
    )
    runner.train()
    spread = runner.message_hub.get_scalar("train/feature_std").data[0]
    assert (spread[-1] < 0.2 * spread.max()) == warned
    lines = tiny_run.log_text(runner).count("a collapse of the representation")
    assert (lines > 0) == warned
