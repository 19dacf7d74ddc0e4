"""A trial validates before its first iteration, and at no other time."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_run
from mmengine.hooks import Hook

from mmdino.comparison.trial import OPTIONS
from mmdino.comparison.trial_hook import STARTED

KIND = dict(option.split("=") for option in OPTIONS)["default_hooks.trial.type"]


class Validations(Hook):
    """Notes when validations begin, and whether the start had been noted."""

    def __init__(self):
        self.seen = []

    def before_val(self, runner):
        self.seen.append((runner.iter, (Path(runner.work_dir) / STARTED).is_file()))


@pytest.mark.parametrize(
    "loop",
    [
        {"type": "mmdino.ResumableTrainLoop", "val_at_start": True},
        {"type": "mmdino.ResumableTrainLoop", "val_at_start": False},
        {"type": "EpochBasedTrainLoop"},
        {"by_epoch": True},
    ],
)
def test_there_is_one_validation_before_the_first_iteration(tmp_path, loop):
    validations = Validations()
    runner = tiny_run.build(
        tmp_path,
        custom_hooks=[*tiny_run.hooks(), validations],
        default_hooks={"trial": {"type": KIND}},
        train_cfg={"max_epochs": 2, "val_interval": 1, **loop},
        **tiny_run.validation(),
    )
    runner.train()
    assert (runner.iter, validations.seen) == (6, [(0, True)])
