"""Which groups the weight decay moves. test_step_scheduler.py has its values."""

from __future__ import annotations

import pytest
import tiny_run
from mmengine.hooks import Hook
from mmengine.registry import PARAM_SCHEDULERS

from mmdino.schedules import cosine

OPTIMIZER = {"type": "AdamW", "lr": 0.002, "weight_decay": 0.04}


class DecayOfGroups(Hook):
    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.seen.append([group["weight_decay"] for group in groups])


def train(work_dir, **wrapper):
    runner = tiny_run.build(work_dir, wrapper=wrapper)
    hook = DecayOfGroups()
    runner.register_hook(hook)
    runner.train()
    return hook.seen


def test_what_is_not_decayed_stays_so(tmp_path):
    seen = train(tmp_path, optimizer=OPTIMIZER)
    assert seen == [[cosine(step, 6, 0.04, 0.4), 0.0] for step in range(6)]


def test_decay_may_rise_from_0(tmp_path):
    seen = train(tmp_path, optimizer={**OPTIMIZER, "weight_decay": 0.0})
    assert seen == [[cosine(step, 6, 0.0, 0.4), 0.0] for step in range(6)]


def test_groups_of_mmengines_constructor_that_start_at_0_stay_so(tmp_path):
    seen = train(
        tmp_path,
        constructor="DefaultOptimWrapperConstructor",
        optimizer=OPTIMIZER,
        paramwise_cfg={"norm_decay_mult": 0.0, "bias_decay_mult": 0.0},
    )
    for step, groups in enumerate(seen):
        assert set(groups) == {0.0, cosine(step, 6, 0.04, 0.4)}


def test_negative_decay_is_refused():
    with pytest.raises(ValueError, match=r"end_value=-0\.1"):
        PARAM_SCHEDULERS.build({"type": "mmdino.CosineWeightDecay", "end_value": -0.1})
