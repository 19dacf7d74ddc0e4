"""The units that are sharded, and what is saved of them."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.registry import MODELS
from torch import nn

from mmdino.engine.sharding import filled_optimizer_state, sharding_units, state_shapes


def test_student_and_teacher_are_cut_at_the_same_places():
    model = MODELS.build(tiny_run.vit_model())
    units = sharding_units(model)
    names = {name for name, module in model.named_modules() if module in units}
    student = {"backbone", "backbone.layers.0", "backbone.layers.1", "head"}
    assert names == student | {f"teacher.{name}" for name in student}


def test_every_parameter_is_in_a_unit():
    model = MODELS.build(tiny_run.resnet_model())
    within = {id(p) for unit in sharding_units(model) for p in unit.parameters()}
    assert within == {id(p) for p in model.parameters()}


def test_shapes_of_a_whole_model():
    model = nn.Linear(3, 2)
    assert state_shapes(model) == {"weight": (2, 3), "bias": (2,)}


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_filled_state_goes_on_like_the_one_it_was_made_of(optimizer):
    """One parameter is frozen for the first step, as the prototypes are for the first epoch."""

    def build():
        parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2))]
        options = {"momentum": 0.9} if optimizer == "SGD" else {}
        return parameters, getattr(torch.optim, optimizer)(parameters, lr=0.1, **options)

    def step(parameters, optimizer, frozen):
        for index, parameter in enumerate(parameters):
            is_frozen = frozen and index == 1
            parameter.grad = None if is_frozen else torch.full_like(parameter, 0.5)
        optimizer.step()

    going_on, resumed = build(), build()
    step(*going_on, frozen=True)
    step(*resumed, frozen=True)
    state = filled_optimizer_state(resumed[1])
    assert set(state["state"]) == {0, 1}
    assert len(resumed[1].state) == 1, "the optimiser itself stays as it is"
    resumed[1].load_state_dict(state)
    for _ in range(2):
        step(*going_on, frozen=False)
        step(*resumed, frozen=False)
    for one, other in zip(going_on[0], resumed[0], strict=True):
        assert torch.equal(one, other)


def test_nothing_is_filled_before_the_first_step():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(3))])
    assert filled_optimizer_state(optimizer)["state"] == {}
