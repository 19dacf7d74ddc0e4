"""What hooks ask of a run, and the runs that they refuse."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, ApexOptimWrapper, OptimWrapper

from mmdino.engine.progress import current_epoch, current_step, num_steps


class AmpWithoutAccelerator(AmpOptimWrapper):
    """mmengine's wrapper for fp16 without the accelerator it asks for."""

    def __init__(self, **kwargs):
        OptimWrapper.__init__(self, **kwargs)


class ApexWithoutApex(ApexOptimWrapper):
    """mmengine's wrapper for Apex without the package it asks for."""

    def __init__(self, **kwargs):
        OptimWrapper.__init__(self, **kwargs)


class OtherModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return {"loss": self.layer.weight.sum()}


@pytest.mark.parametrize("wrapper", [AmpWithoutAccelerator, ApexWithoutApex])
@pytest.mark.parametrize("hook", ["EMATeacherHook", "CenterUpdateHook"])
def test_wrappers_that_do_not_tell_their_steps_are_refused(tmp_path, wrapper, hook):
    runner = tiny_run.build(
        tmp_path,
        wrapper={"type": wrapper, "clip_grad": None},
        custom_hooks=[{"type": f"mmdino.{hook}"}],
    )
    with pytest.raises(TypeError, match=f"{wrapper.__name__}.*mmdino.StepOptimWrapper"):
        runner.train()


@pytest.mark.parametrize(
    ("hook", "capability"),
    [
        ("EMATeacherHook", "moves a teacher of moving averages"),
        ("CenterUpdateHook", "a module that has 'needs_center_update'"),
        ("LastLayerFreezeHook", "has layer='head.last_layer'"),
        ("TeacherTempWarmupHook", "a module that has 'current_teacher_temp'"),
    ],
)
def test_models_without_the_capability_are_refused(tmp_path, hook, capability):
    runner = tiny_run.build(tmp_path, model=OtherModel(), custom_hooks=[{"type": f"mmdino.{hook}"}])
    with pytest.raises(TypeError, match=f"{hook} .*{capability}.*a OtherModel"):
        runner.train()


class Position(Hook):
    """Notes epoch and step as hooks of the method see them."""

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append((current_epoch(runner), current_step(runner)))
        self.num_steps = num_steps(runner)


ENDING_WITH_EPOCHS = (0, 0, 0, 1, 1, 2, 2, 2, 3, 3)
RUNNING_ON = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3)


@pytest.mark.parametrize(
    ("train_cfg", "expected"),
    [
        ({"type": "mmdino.ResumableTrainLoop", "max_epochs": 2}, ENDING_WITH_EPOCHS),
        ({"type": "EpochBasedTrainLoop", "max_epochs": 2}, RUNNING_ON),
        ({"type": "IterBasedTrainLoop", "max_iters": 10}, RUNNING_ON),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_position_counts_epochs_and_optimiser_steps(tmp_path, train_cfg, expected):
    """Five micro-batches an epoch, three a step: ours ends a step with each epoch."""
    runner = tiny_run.build(
        tmp_path,
        train_cfg=train_cfg,
        param_scheduler=None,
        dataset=tiny_run.RandomViews(5),
        batch_size=1,
        accumulative_counts=3,
    )
    position, recorder = Position(), tiny_run.Recorder()
    runner.register_hook(position)
    runner.register_hook(recorder)
    runner.train()
    epochs, steps = zip(*position.seen, strict=True)
    assert epochs == (0,) * 5 + (1,) * 5
    assert steps == expected
    assert position.num_steps == 4
    ends = [step != following for step, following in pairwise([*expected, None])]
    assert recorder.column("step") == ends
