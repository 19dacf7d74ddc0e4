"""The teacher's update."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny_run
import torch
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from torch import nn

from mmdino.engine.hooks.ema_teacher_hook import move_teacher_
from mmdino.schedules import cosine


def test_teacher_is_the_momentum_average_of_the_students(tmp_path):
    runner = tiny_run.build(
        tmp_path,
        custom_hooks=tiny_run.hooks(EMATeacherHook={"momentum": 0.7, "end_momentum": 0.9}),
    )
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    tiny_run.train_double(runner)
    momenta = [cosine(step, 6, 0.7, 0.9) for step in range(6)]
    assert recorder.column("momentum") == momenta
    for momentum, (before, after) in zip(momenta[1:], pairwise(recorder.rows), strict=True):
        expected = momentum * before["teacher"] + (1 - momentum) * after["student"]
        torch.testing.assert_close(after["teacher"], expected, rtol=0, atol=1e-12)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """mmengine's loop by iterations sleeps for two seconds after each pass over the data."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


class Replayed(BaseModel):
    """A student of one vector that takes given values, step by step.

    Args:
        student: Its values (n + 1, P) before each step and after the last.
        counts: Micro-batches of a step.
        skipped: Of how many steps each last one overflows; 0 for none.
    """

    needs = ("teacher",)

    def __init__(self, student, counts=1, skipped=0):
        super().__init__()
        self.student = nn.Parameter(student[0].clone())
        self.teacher = nn.Parameter(torch.zeros_like(student[0]), requires_grad=False)
        self.moves = student[:-1] - student[1:]
        self.counts, self.skipped = counts, skipped
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.seen = []

    def mark_met(self, need):
        assert need == "teacher"

    def teacher_pairs(self):
        return [self.teacher], [self.student]

    def forward(self, inputs, data_samples=None, mode="loss"):
        step = int(self.calls) // self.counts
        self.calls += 1
        if self.skipped and step % self.skipped == self.skipped - 1:
            return {"loss": self.student.sum() * torch.inf}
        self.seen.append(self.teacher.clone())
        if self.skipped:
            step -= step // self.skipped
        return {"loss": (self.student * self.moves[step]).sum()}


def replay(work_dir, update, arrays, counts=1, skipped=0, length=None, **options):
    """Runs the steps of the golden case; returns the teachers that its micro-batches saw."""
    epochs, steps = int(arrays["epochs"]), int(arrays["iters_per_epoch"])
    length = length or (steps + (1 if skipped else 0)) * counts
    model = Replayed(arrays["student"], counts, skipped)
    if update == "momentum":
        model.teacher.data.copy_(model.student)
    momentum = float(arrays["momentum"][0])
    runner = tiny_run.build(
        work_dir,
        model=model,
        dataset=tiny_run.RandomViews(length),
        batch_size=1,
        epochs=epochs,
        accumulative_counts=counts,
        wrapper={
            "optimizer": {"type": "SGD", "lr": 1.0},
            "constructor": "DefaultOptimWrapperConstructor",
            "clip_grad": None,
            **({"precision": "float16", "loss_scale": 1.0} if skipped else {}),
        },
        param_scheduler=None,
        custom_hooks=[
            {"type": "mmdino.EMATeacherHook", "momentum": momentum, "update": update},
            {"type": "mmdino.IterationSeedHook"},
        ],
        **options,
    )
    runner.train()
    return torch.stack(model.seen), runner


UPDATES = ["momentum", "previous_epoch", "previous_iteration", "student_copy"]


def by_iterations(num_iterations):
    """Options of a run by mmengine's loop without epochs."""
    return {"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": num_iterations}}


@pytest.mark.parametrize("by_epoch", [True, False], ids=["epochs", "iterations"])
@pytest.mark.parametrize("counts", [1, 2])
@pytest.mark.parametrize("update", UPDATES)
def test_each_step_sees_the_teacher_of_the_formula(golden, tmp_path, update, counts, by_epoch):
    arrays = golden("family", "dino/teachers/")
    options = {} if by_epoch else by_iterations(counts * len(arrays["momentum"]))
    seen, _ = replay(tmp_path, update, arrays, counts=counts, **options)
    expected = arrays[f"teacher_{update}"].repeat_interleave(counts, 0)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("update", UPDATES[1:])
def test_a_skipped_step_changes_no_teacher_and_keeps_no_epoch_from_ending(golden, tmp_path, update):
    """The last step of each epoch overflows."""
    arrays = golden("family", "dino/teachers/")
    seen, _ = replay(tmp_path, update, arrays, skipped=int(arrays["iters_per_epoch"]) + 1)
    torch.testing.assert_close(seen, arrays[f"teacher_{update}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("update", UPDATES)
def test_a_resumed_run_sees_the_same_teachers(golden, tmp_path, update):
    """Resumed after the first step, between epochs, and within one."""
    arrays = golden("family", "dino/teachers/")
    checkpoint = {"type": "CheckpointHook", "interval": 1, "by_epoch": False}
    replay(tmp_path, update, arrays, default_hooks={"checkpoint": checkpoint})
    for done in (1, 4, 6):
        start = {"resume": True, "load_from": str(tmp_path / f"iter_{done}.pth")}
        seen, _ = replay(tmp_path / str(done), update, arrays, **start)
        expected = arrays[f"teacher_{update}"][done:]
        torch.testing.assert_close(seen, expected, rtol=0, atol=1e-12)


def test_an_epoch_that_ends_within_a_step_ends_with_it(golden, tmp_path):
    """mmengine's loop by iterations accumulates across epochs, here of three micro-batches."""
    arrays = golden("family", "dino/teachers/")
    seen, _ = replay(tmp_path, "previous_epoch", arrays, counts=2, length=3, **by_iterations(12))
    # Epochs end with micro-batches 2, 5, 8 and 11: within steps 1, 2, 4 and 5.
    expected = arrays["student"][[0, 0, 2, 3, 3, 5]].repeat_interleave(2, 0)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("update", UPDATES)
def test_the_momentum_is_logged_where_there_is_one(golden, tmp_path, update):
    _, runner = replay(tmp_path, update, golden("family", "dino/teachers/"), log_level="INFO")
    logged = "train/teacher_momentum" in runner.message_hub.log_scalars
    assert logged == (update == "momentum")
    unused = "momentum=0.9 and end_momentum=1.0 have no effect"
    assert (unused in tiny_run.log_text(runner)) == (update != "momentum")


@pytest.mark.parametrize(("momentum", "expected"), [(1.0, 0.0), (0.0, 1.0), (0.75, 0.25)])
def test_momentum_is_the_share_of_the_old_teacher(momentum, expected):
    teacher, student = [torch.zeros(2), torch.zeros(())], [torch.ones(2), torch.ones(())]
    move_teacher_(teacher, student, momentum)
    assert all((tensor == expected).all() for tensor in teacher)
    assert all((tensor == 1).all() for tensor in student)


@pytest.mark.parametrize("arguments", [{"momentum": 1.2}, {"momentum": -0.1}, {"end_momentum": 2}])
def test_bad_arguments_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        HOOKS.build({"type": "mmdino.EMATeacherHook", **arguments})


def test_unknown_update_is_refused():
    with pytest.raises(ValueError, match="update='epoch'; it must be one of"):
        HOOKS.build({"type": "mmdino.EMATeacherHook", "update": "epoch"})
