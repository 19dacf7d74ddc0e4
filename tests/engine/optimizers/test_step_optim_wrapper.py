"""Per-tensor clipping, and whether a step was taken."""

from __future__ import annotations

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmdino.engine.optimizers import StepOptimWrapper


@pytest.fixture
def parameters():
    return [nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.tensor([0.3]))]


def build(parameters, lr=1.0, **options):
    optimizer = torch.optim.SGD(parameters, lr)
    return OPTIM_WRAPPERS.build(
        {"type": "mmdino.StepOptimWrapper", "optimizer": optimizer, **options}
    )


def half_squares(parameters):
    """A loss whose gradients are the parameters."""
    return sum(parameter.square().sum() / 2 for parameter in parameters)


def test_each_tensor_is_clipped_and_the_norm_before_is_logged(parameters):
    wrapper = build(parameters, clip_grad={"type": "per_tensor", "max_norm": 1.0})
    wrapper.update_params(half_squares(parameters))
    # Gradients (3, 4) and (0.3), of which the first is clipped to (0.6, 0.8).
    torch.testing.assert_close(parameters[0].data, torch.tensor([2.4, 3.2]))
    torch.testing.assert_close(parameters[1].data, torch.tensor([0.0]))
    scalars = MessageHub.get_current_instance().log_scalars
    assert scalars["train/grad_norm"].current() == pytest.approx((25 + 0.09) ** 0.5)
    assert scalars["train/clipped_tensors"].current() == 1


def test_clipping_by_the_norm_over_all_tensors_is_mmengines(parameters):
    wrapper = build(parameters, clip_grad={"max_norm": 1.0})
    wrapper.update_params(half_squares(parameters))
    norm = (25 + 0.09) ** 0.5
    torch.testing.assert_close(parameters[1].data, torch.tensor([0.3 - 0.3 / norm]))


def test_no_clipping_unless_asked_for(parameters):
    build(parameters).update_params(half_squares(parameters))
    assert not parameters[0].any()


def test_step_taken_is_true_after_the_last_micro_batch_only(parameters):
    wrapper = build(parameters, lr=0.1, accumulative_counts=3)
    wrapper.initialize_count_status(nn.Module(), 0, 7)
    taken = []
    assert not wrapper.step_taken
    for _ in range(7):
        before = parameters[0].clone()
        wrapper.update_params(half_squares(parameters))
        taken.append(wrapper.step_taken)
        assert torch.equal(before, parameters[0]) is not wrapper.step_taken
    assert taken == [False, False, True, False, False, True, True]


@pytest.mark.parametrize(
    "clip_grad",
    [
        {"type": "per_tensor"},
        {"type": "per_tensor", "max_norm": 0},
        {"type": "per_tensor", "max_norm": -1.0},
        {"type": "per_tensor", "max_norm": float("nan")},
        {"type": "per_tensor", "max_norm": float("inf")},
        {"type": "per_tensor", "max_norm": "abc"},
        {"type": "per_tensor", "max_norm": 3.0, "norm_type": 1},
    ],
    ids=str,
)
def test_bad_clipping_is_refused(parameters, clip_grad):
    with pytest.raises(ValueError, match="takes max_norm, a finite number above 0, and no"):
        build(parameters, clip_grad=clip_grad)


@pytest.mark.parametrize("counts", [0, -1, 1.5, "abc"])
def test_counts_that_are_none_are_refused(parameters, counts):
    with pytest.raises(
        (ValueError, TypeError), match=r"accumulative_counts=.* whole number at lea"
    ):
        build(parameters, accumulative_counts=counts)


def test_a_step_longer_than_its_epoch_is_refused(parameters):
    wrapper = build(parameters, accumulative_counts=4)
    wrapper.epoch_length = 4
    with pytest.raises(ValueError, match=r"counts=4 is more than the 3 micro-.*must be at most 3"):
        wrapper.epoch_length = 3


def test_unknown_kinds_of_clipping_are_refused(parameters):
    kinds = "norm, per_network, per_tensor, value"
    with pytest.raises(ValueError, match=f"'per-tensor'; it must be one of {kinds}"):
        build(parameters, clip_grad={"type": "per-tensor", "max_norm": 3.0})


def test_clipping_by_network_needs_groups_that_tell_it(parameters):
    with pytest.raises(ValueError, match=r"per_network.*constructor='mmdino.DecayGroups"):
        build(parameters, clip_grad={"type": "per_network", "max_norm": 3.0})


def test_all_rates_are_logged_as_lr(parameters):
    """With base_param_settings, mmengine would log an unscaled base_lr beside it."""
    assert build(parameters).get_lr() == {"lr": [1.0]}


@pytest.mark.parametrize("saved", [False, True], ids=["plain", "fused"])
def test_a_resumed_run_computes_by_the_kernel_of_its_config(saved):
    """The options of a checkpoint's groups would replace those of the config."""

    def trained(fused):
        layer = nn.Linear(2, 2)
        wrapper = StepOptimWrapper(torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused))
        wrapper.update_params(layer(torch.ones(1, 2)).sum())
        return wrapper

    resumed, state = trained(fused=not saved), trained(fused=saved).state_dict()
    resumed.load_state_dict(state)
    assert [group["fused"] for group in resumed.optimizer.param_groups] == [not saved]
    assert state["param_groups"][0]["fused"] is saved, "the caller's state stays as it is"
