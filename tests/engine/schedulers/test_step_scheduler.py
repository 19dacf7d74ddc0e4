"""What the two schedulers share: positions, lengths and refusals."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS, PARAM_SCHEDULERS
from torch import nn

from mmdino.schedules import cosine, warmup_cosine

LR = {"type": "mmdino.WarmupCosineLR", "warmup": 2, "end_lr": 1e-5}
WEIGHT_DECAY = {"type": "mmdino.CosineWeightDecay", "end_value": 0.4}


@pytest.fixture(params=[1, 3], ids=["every micro-batch", "every third"])
def wrapper(request):
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.002, weight_decay=0.04)
    return OPTIM_WRAPPERS.build(
        {
            "type": "mmdino.StepOptimWrapper",
            "optimizer": optimizer,
            "accumulative_counts": request.param,
        }
    )


def build(wrapper, config, **options):
    """Builds as a Runner does, which has the length of an epoch ready: 7 micro-batches."""
    return PARAM_SCHEDULERS.build(
        {**config, **options}, default_args={"optimizer": wrapper, "epoch_length": 7}
    )


def values(wrapper, scheduler, name, count):
    """The values of ``count`` micro-batches."""
    found = []
    for _ in range(count):
        found.append(wrapper.optimizer.param_groups[0][name])
        scheduler.step()
    return found


def expected(wrapper, count, of_step):
    """``of_step(step, num_steps, steps in 14 micro-batches)`` for each micro-batch."""
    per_step = wrapper._accumulative_counts
    num_steps, warmup = -(-count // per_step), -(-14 // per_step)
    return [of_step(micro_batch // per_step, num_steps, warmup) for micro_batch in range(count)]


EPOCHS = {"end": 5, "by_epoch": True, "convert_to_iter_based": True}
ITERATIONS = {"end": 35, "by_epoch": False}


@pytest.mark.parametrize("lengths", [EPOCHS, {**ITERATIONS, "warmup": 14}], ids=["epochs", "iters"])
def test_learning_rate_is_the_methods(wrapper, lengths):
    found = values(wrapper, build(wrapper, LR, **lengths), "lr", 35)
    assert found == expected(
        wrapper, 35, lambda step, steps, warmup: warmup_cosine(step, steps, warmup, 0.002, 1e-5)
    )
    assert found[0] == 0
    assert max(found) == pytest.approx(0.002)
    assert 1e-5 < found[-1] < 2e-4


def test_a_fraction_of_an_epoch_is_the_nearest_number_of_iterations(wrapper):
    """3.5 of 7 micro-batches are 4."""
    scheduler = build(wrapper, LR, **EPOCHS, warmup=0.5)
    warmup = scheduler.steps(4)
    assert values(wrapper, scheduler, "lr", 35) == expected(
        wrapper, 35, lambda step, steps, _: warmup_cosine(step, steps, warmup, 0.002, 1e-5)
    )


@pytest.mark.parametrize("lengths", [EPOCHS, ITERATIONS], ids=["epochs", "iters"])
def test_weight_decay_is_the_methods(wrapper, lengths):
    found = values(wrapper, build(wrapper, WEIGHT_DECAY, **lengths), "weight_decay", 35)
    assert found == expected(wrapper, 35, lambda step, steps, _: cosine(step, steps, 0.04, 0.4))
    assert found[0] == pytest.approx(0.04)
    assert 0.35 < found[-1] < 0.4


def test_the_last_value_stays(wrapper):
    scheduler = build(wrapper, WEIGHT_DECAY, **ITERATIONS)
    found = values(wrapper, scheduler, "weight_decay", 50)
    assert set(found[34:]) == {found[34]}


def test_a_resumed_scheduler_goes_on_where_it_was(wrapper):
    scheduler = build(wrapper, LR, **EPOCHS)
    values(wrapper, scheduler, "lr", 17)
    state = scheduler.state_dict()
    rest = values(wrapper, scheduler, "lr", 18)
    wrapper.optimizer.param_groups[0]["lr"] = 0.002
    resumed = build(wrapper, LR, **EPOCHS)
    resumed.load_state_dict(state)
    assert values(wrapper, resumed, "lr", 18) == rest


@pytest.mark.parametrize("config", [LR, WEIGHT_DECAY], ids=["lr", "weight_decay"])
@pytest.mark.parametrize("options", [{"by_epoch": True}, {}], ids=["said", "not said"])
def test_epochs_as_steps_are_refused(wrapper, config, options):
    """A config that says nothing about epochs means them, as everywhere in mmengine."""
    with pytest.raises(ValueError, match="convert_to_iter_based=True"):
        build(wrapper, config, end=5, **options)
