"""Runs of feature distillation: resume, accumulation, and the file that a run keeps to."""

from __future__ import annotations

import pytest
import tiny_distillation
import tiny_run
import torch
from mmengine.registry import MODELS


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Files of two teachers."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (1, 2):
        torch.manual_seed(seed)
        vit = MODELS.build(tiny_distillation.teacher())
        torch.save({"state_dict": vit.state_dict()}, folder / f"{seed}.pth")
    return folder / "1.pth", folder / "2.pth"


def build(work_dir, teacher, **options):
    student = tiny_distillation.student(drop_path_rate=options.pop("drop_path_rate", 0.2))
    schedule = {"type": "mmdino.WarmupCosineLR", "warmup": 1, "start_ratio": 0.1, "delayed": True}
    epochs = {"by_epoch": True, "convert_to_iter_based": True}
    return tiny_run.build(
        work_dir,
        model=tiny_distillation.model(teacher, student),
        dataset=options.pop("dataset", tiny_run.RandomViews(view_sizes=(12,))),
        wrapper={"clip_grad": {"max_norm": 3.0}, "paramwise_cfg": {"not_decayed": "cls_token"}},
        param_scheduler=[{**schedule, **epochs}],
        custom_hooks=[
            {"type": f"mmdino.{name}"}
            for name in ("IterationSeedHook", "FiniteLossHook", "CheckpointMatchHook")
        ],
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teachers):
    """The folder of a run of two epochs, and the model that it ended with."""
    folder = tmp_path_factory.mktemp("whole")
    runner = build(folder, teachers[0])
    runner.train()
    return folder, runner.model


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
