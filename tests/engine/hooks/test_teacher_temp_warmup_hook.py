"""The teacher's temperature."""

from __future__ import annotations

import pytest
import tiny_run
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


class Temperatures(Hook):
    """Notes the temperature that each loss is computed with."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        logged = runner.message_hub.get_scalar("train/teacher_temp").current()
        assert logged == runner.model.dino_loss.current_teacher_temp
        self.seen.append(logged)


def temperatures(work_dir, **arguments):
    """Temperatures of four epochs of one iteration, with 0.07 as the final one."""
    runner = tiny_run.build(
        work_dir,
        epochs=4,
        dataset=tiny_run.RandomViews(4),
        model=tiny_run.vit_model(loss={"teacher_temp": 0.07}),
        custom_hooks=tiny_run.hooks(TeacherTempWarmupHook=arguments),
    )
    hook = Temperatures()
    runner.register_hook(hook)
    runner.train()
    return hook.seen


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (3, [0.04, 0.055, 0.07, 0.07]),
        (1, [0.04, 0.07, 0.07, 0.07]),
        (0, [0.07, 0.07, 0.07, 0.07]),
        (30, [0.04 + 0.03 * epoch / 29 for epoch in range(4)]),
    ],
)
def test_temperature_rises_epoch_by_epoch(tmp_path, epochs, expected):
    assert temperatures(tmp_path, start=0.04, epochs=epochs) == pytest.approx(expected)


@pytest.mark.parametrize(
    "arguments", [{"start": 0.0}, {"start": -0.04}, {"start": float("nan")}, {"epochs": -1}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(
        ValueError, match=r"must be a (finite number above|whole number at least) 0"
    ):
        HOOKS.build({"type": "mmdino.TeacherTempWarmupHook", **arguments})
