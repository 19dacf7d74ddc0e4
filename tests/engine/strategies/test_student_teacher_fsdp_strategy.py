"""What the strategy refuses. What it computes is in tests/engine/test_wrappers.py."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import STRATEGIES
from mmengine.runner import FlexibleRunner
from torch import nn

from mmdino.engine.optimizers import StepOptimWrapper
from mmdino.engine.strategies import student_teacher_fsdp_strategy
from mmdino.engine.strategies.student_teacher_fsdp_strategy import _refuse_partial_gradients


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"sharding_strategy": "SHARD_GRAD_OP"}, "FULL_SHARD"),
        ({"sharding_strategy": "HYBRID_SHARD"}, "FULL_SHARD"),
        ({"auto_wrap_policy": "any"}, "same places"),
        ({"use_orig_params": False}, "one by one"),
    ],
)
def test_wrapper_arguments_that_would_miss_the_teacher_are_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        STRATEGIES.build({"type": "mmdino.StudentTeacherFSDPStrategy", "model_wrapper": argument})


def test_a_single_process_is_refused(tmp_path):
    cfg = tiny_run.config(
        tmp_path, strategy={"type": "mmdino.StudentTeacherFSDPStrategy"}, launcher="none"
    )
    with pytest.raises(ValueError, match=r"dist_train\.sh"):
        FlexibleRunner(**cfg).train()


def test_a_compiled_model_is_refused(tmp_path, monkeypatch):
    model = {**tiny_run.vit_model(), "compile": {"backend": "eager"}}
    strategy = {"type": "mmdino.StudentTeacherFSDPStrategy"}
    cfg = tiny_run.config(tmp_path, model=model, strategy=strategy, launcher="none")
    monkeypatch.setattr(student_teacher_fsdp_strategy, "is_distributed", lambda: True)
    with pytest.raises(ValueError, match=r"Leave out model\.compile"):
        FlexibleRunner(**cfg).train()


@pytest.mark.parametrize(
    ("wrapper", "error", "message"),
    [
        (OptimWrapper, TypeError, "StepOptimWrapper"),
        (lambda o: StepOptimWrapper(o, clip_grad={"max_norm": 3.0}), ValueError, "per_tensor"),
        (lambda o: StepOptimWrapper(o, precision="float16"), ValueError, "bfloat16"),
    ],
)
def test_wrappers_that_take_a_part_for_the_whole_are_refused(wrapper, error, message):
    built = wrapper(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0))
    with pytest.raises(error, match=message):
        _refuse_partial_gradients(built)
