"""Runs of methods that are not DINO, with the hooks, loops and wrappers that DINO has."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import tiny_methods
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope

METHODS = ("byol", "simsiam", "barlow_twins")


def build(work_dir, name, *, hooks=(), **options):
    model = tiny_methods.method(name)
    return tiny_run.build(
        work_dir,
        model=model,
        custom_hooks=[*tiny_methods.hooks(name), *hooks],
        **{"dataset": tiny_run.RandomViews(16), **options},
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, name):
    whole = build(tmp_path / "whole", name, epochs=3)
    whole.train()
    resumed = build(
        tmp_path / "resumed", name, epochs=3, load_from=f"{tmp_path}/whole/epoch_1.pth", resume=True
    )
    resumed.train()
    expected = whole.model.state_dict()
    for key, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key
    start = torch.load(tmp_path / "whole/epoch_1.pth", weights_only=False)["state_dict"]
    assert any(not torch.equal(expected[key], start[key]) for key in start)


@pytest.mark.parametrize("name", METHODS)
def test_validation_figures_and_speed_work_as_for_dino(tmp_path, name):
    figure = {"type": "mmdino.TrainingFigureHook"}
    options = {"log_level": "INFO", **tiny_run.validation()}
    runner = build(tmp_path, name, hooks=[figure], **options)
    runner.train()
    curves = json.loads((tmp_path / "training.json").read_text())
    assert curves["entropy_bound"] is None
    assert len(curves["train"]["feature_std"]) == len(curves["train"]["loss"]) == 8
    assert curves["knn"]["iteration"] == [4, 8]
    assert (tmp_path / "training.png").stat().st_size > 10_000
    scalars = runner.message_hub.log_scalars
    assert 0 <= scalars["val/knn/top1"].current() <= 100
    for metric in ("feature_std", "images_per_s"):
        assert scalars[f"train/{metric}"].current() > 0
    assert ("train/teacher_momentum" in scalars) == (name == "byol")
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
        wrapper={"optimizer": {"type": "AdamW", "lr": 0.02}, "clip_grad": None},
    )
    runner.train()
    spread = runner.message_hub.get_scalar("train/feature_std").data[0]
    assert (spread[-1] < 0.2 * spread.max()) == warned
    lines = tiny_run.log_text(runner).count("a collapse of the representation")
    assert (lines > 0) == warned
