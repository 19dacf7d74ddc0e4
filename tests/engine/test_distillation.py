"""Runs of a distillation: what moves the student, what a resumed run keeps to, and ranks."""

from __future__ import annotations

import pytest
import tiny_dinov2
import tiny_methods
import tiny_run
import torch
from script_process import run_script

from mmdino.weights.networks import backbone_weights


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Files of two teachers."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (1, 2):
        tiny_dinov2.write_teacher(folder / f"{seed}.pth", seed)
    return folder / "1.pth", folder / "2.pth"


def build(work_dir, teacher, model=None, **options):
    hooks = {"LastLayerFreezeHook": {"epochs": 1, "what": "step"}, **options.pop("hooks", {})}
    return tiny_run.build(
        work_dir,
        model=tiny_dinov2.distillation(teacher, **(model or {})),
        custom_hooks=[*tiny_run.hooks(**hooks), {"type": "mmdino.CheckpointMatchHook"}],
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, teachers):
    """The folder of a run of two epochs, and the model that it ended with."""
    folder = tmp_path_factory.mktemp("whole")
    runner = build(folder, teachers[0])
    runner.train()
    return folder, runner.model


def test_the_moving_average_does_not_influence_the_student(whole, tmp_path, teachers):
    runner = build(tmp_path, teachers[0], hooks={"EMATeacherHook": {"momentum": 0.5}})
    runner.train()
    expected = whole[1].state_dict()
    for name, tensor in runner.model.state_dict().items():
        spare = name.startswith("teacher.")
        assert spare or torch.equal(tensor, expected[name]), name
    name = "teacher.backbone.layers.0.ln1.weight"
    assert not torch.equal(runner.model.state_dict()[name], expected[name])


def test_a_resumed_run_equals_an_uninterrupted_one(whole, tmp_path, teachers):
    """Within an epoch of its own or not: the teacher has no state but its file."""
    folder, model = whole
    moved = tmp_path / "moved.pth"
    moved.write_bytes(teachers[0].read_bytes())
    runner = build(tmp_path / "run", moved, load_from=f"{folder}/epoch_1.pth", resume=True)
    runner.train()
    for name, tensor in model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], tensor), name


def test_a_run_goes_on_with_the_file_that_it_began_with(whole, tmp_path, teachers):
    runner = build(tmp_path, teachers[1], load_from=f"{whole[0]}/epoch_1.pth", resume=True)
    with pytest.raises(ValueError, match=r"another file as model\.frozen_teacher: SHA-256 "):
        runner.train()


@pytest.mark.parametrize("distilled", [True, False])
def test_a_new_run_from_a_student_s_weights_may_have_another_teacher(
    whole, tmp_path, teachers, distilled
):
    """The weights are those of a distillation, or of a run without a frozen teacher."""
    state = torch.load(whole[0] / "epoch_1.pth", weights_only=False)["state_dict"]
    if not distilled:
        del state["frozen_teacher.sha256"]
    torch.save({"state_dict": state}, tmp_path / "student.pth")
    runner = build(tmp_path, teachers[1], load_from=str(tmp_path / "student.pth"))
    runner.model.init_weights()
    expected = runner.model.frozen_teacher.sha256.clone()
    runner.load_or_resume()
    assert torch.equal(runner.model.frozen_teacher.sha256, expected)
    name = "backbone.cls_token"
    assert torch.equal(runner.model.state_dict()[name], state[name])


def test_checkpoints_lack_the_weights_of_the_teacher_and_their_optimiser(whole):
    checkpoint = torch.load(whole[0] / "epoch_2.pth", weights_only=False)
    frozen = [name for name in checkpoint["state_dict"] if "frozen" in name]
    assert frozen == ["frozen_teacher.sha256"]
    count = sum(len(group["params"]) for group in checkpoint["optimizer"]["param_groups"])
    student = [p for p in whole[1].parameters() if p.requires_grad]
    assert count == len(student)


def test_what_is_extracted_is_the_moving_average_of_the_student(whole):
    weights = backbone_weights(whole[0] / "epoch_2.pth", num_heads=2)
    expected = whole[1].teacher["backbone"].state_dict()
    assert weights.network == "teacher"
    assert weights.state_dict.keys() == expected.keys()
    assert all(torch.equal(weights.state_dict[name], tensor) for name, tensor in expected.items())


def test_four_micro_batches_of_one_are_one_batch_of_four(tmp_path, teachers):
    """But for KoLeo, which compares the images of a micro-batch."""
    ends = []
    for batch_size in (1, 4):
        runner = build(
            tmp_path / str(batch_size),
            teachers[0],
            model={"koleo_weight": 0},
            batch_size=batch_size,
            accumulative_counts=4 // batch_size,
            dataset=tiny_run.RandomViews(12, torch.float64),
        )
        ends.append(tiny_run.train_double(runner))
    for name, tensor in ends[1].items():
        torch.testing.assert_close(ends[0][name], tensor, rtol=0, atol=1e-9, msg=name)


@pytest.mark.slow
def test_two_ranks_equal_one_process(tmp_path):
    """Replicated and sharded; each rank holds the whole frozen teacher."""
    run_script("methods_on_two_ranks.py", tmp_path, "distillation")
    tiny_methods.assert_ranks_are_alone(tmp_path, "distillation")
