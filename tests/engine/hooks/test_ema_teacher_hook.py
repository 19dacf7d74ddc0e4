"""The teacher's update."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny_run
import torch
from mmengine.registry import HOOKS

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
