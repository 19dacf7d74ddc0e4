"""The learning rate of a run. tests/engine/schedulers/test_step_scheduler.py has its values."""

from __future__ import annotations

import re

import pytest
import tiny_run
from mmengine.registry import PARAM_SCHEDULERS

from mmdino.schedules import warmup_cosine


def test_rates_of_a_run_are_the_schedules_and_are_printed(tmp_path):
    runner = tiny_run.build(tmp_path, log_level="INFO", epochs=3)
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.train()
    expected = [warmup_cosine(step, 9, 3, 0.002, 1e-5) for step in range(9)]
    assert recorder.column("lr") == expected
    printed = re.findall(r"Epoch\(train\).* lr: (\S+)", tiny_run.log_text(runner))
    assert [float(rate) for rate in printed] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("options", [{"warmup": -1}, {"end_lr": -1e-6}, {"end_ratio": -1}])
def test_negative_arguments_are_refused(options):
    with pytest.raises(ValueError, match="at least 0"):
        PARAM_SCHEDULERS.build({"type": "mmdino.WarmupCosineLR", **options})


def test_two_kinds_of_end_are_refused():
    with pytest.raises(ValueError, match=r"end_lr=0.1 and end_ratio=0.5\. Give one of them"):
        PARAM_SCHEDULERS.build({"type": "mmdino.WarmupCosineLR", "end_lr": 0.1, "end_ratio": 0.5})


def test_what_is_no_bool_is_refused_as_delayed():
    with pytest.raises(TypeError, match="delayed=1; it must be True or False"):
        PARAM_SCHEDULERS.build({"type": "mmdino.WarmupCosineLR", "delayed": 1})
