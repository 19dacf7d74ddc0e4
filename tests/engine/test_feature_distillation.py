"""Runs of feature distillation: resume, accumulation, and the file that a run keeps to."""

from __future__ import annotations

import json

import pytest
import tiny_distillation
import tiny_methods
import tiny_run
import torch
from script_process import run_script


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Files of two teachers."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (1, 2):
        tiny_distillation.write_teacher(folder / f"{seed}.pth", seed)
    return folder / "1.pth", folder / "2.pth"


def build(work_dir, teacher, **options):
    return tiny_run.build(work_dir, **tiny_distillation.run(teacher, **options))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teachers):
    """The folder of a run of two epochs, and the model that it ended with."""
    folder = tmp_path_factory.mktemp("whole")
    figure = {"type": "mmdino.TrainingFigureHook"}
    runner = build(folder, teachers[0], hooks=[figure], **tiny_run.validation())
    runner.train()
    return folder, runner.model


def test_validation_and_figure_work_as_for_dino(whole):
    curves = json.loads((whole[0] / "training.json").read_text())
    assert len(curves["train"]["loss"]) == len(curves["train"]["feature_std"]) == 6
    assert curves["knn"]["iteration"] == [3, 6]
    assert curves["entropy_bound"] is None
    assert (whole[0] / "training.png").stat().st_size > 10_000


def test_a_resumed_run_equals_an_uninterrupted_one(whole, tmp_path, teachers):
    folder, model = whole
    moved = tmp_path / "moved.pth"
    moved.write_bytes(teachers[0].read_bytes())
    runner = build(tmp_path / "run", moved, load_from=f"{folder}/epoch_1.pth", resume=True)
    runner.train()
    for name, tensor in model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], tensor), name


def test_a_run_goes_on_with_the_file_that_it_began_with(whole, tmp_path, teachers):
    runner = build(tmp_path, teachers[1], load_from=f"{whole[0]}/epoch_1.pth", resume=True)
    with pytest.raises(ValueError, match=r"another file as model\.teacher: SHA-256 "):
        runner.train()


def test_checkpoints_lack_the_teacher_and_the_optimiser_has_the_student_alone(whole):
    checkpoint = torch.load(whole[0] / "epoch_2.pth", weights_only=False)
    others = [
        name
        for name in checkpoint["state_dict"]
        if not name.startswith(("backbone.", "projectors."))
    ]
    assert others == ["teachers.0.frozen.sha256"]
    count = sum(len(group["params"]) for group in checkpoint["optimizer"]["param_groups"])
    assert count == len(list(whole[1].parameters()))


def test_four_micro_batches_of_one_are_one_batch_of_four(tmp_path, teachers):
    """Without stochastic depth, whose draws follow the batch."""
    ends = []
    for batch_size in (1, 4):
        runner = build(
            tmp_path / str(batch_size),
            teachers[0],
            drop_path_rate=0.0,
            batch_size=batch_size,
            accumulative_counts=4 // batch_size,
            dataset=tiny_run.RandomViews(12, torch.float64, view_sizes=(12,)),
        )
        ends.append(tiny_run.train_double(runner))
    for name, tensor in ends[1].items():
        torch.testing.assert_close(ends[0][name], tensor, rtol=0, atol=1e-9, msg=name)


NAME = "feature_distillation"


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path):
    """Replicated, sharded, and resumed; each rank holds the whole teacher."""
    run_script("methods_on_two_ranks.py", tmp_path, NAME)
    tiny_methods.assert_ranks_are_alone(tmp_path, NAME)


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tmp_path):
    """With float16, skipped steps, accumulation and stochastic depth."""
    run_script("methods_killed_and_resumed.py", tmp_path, NAME)
    tiny_methods.assert_resumed_is_uninterrupted(tmp_path / NAME)
