"""Clipping of each tensor by itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmdino.engine.optimizers.gradients import (
    clip_each_tensor_,
    clip_together_,
    joint_norm,
    whole_norms,
)


def with_gradients(*gradients):
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    return parameters


def clip_one_after_the_other(parameters, max_norm):
    """The reference's loop."""
    for parameter in parameters:
        if parameter.grad is not None:
            scale = max_norm / (parameter.grad.norm(2) + 1e-6)
            if scale < 1:
                parameter.grad.mul_(scale)


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 3.0, 100.0])
def test_equals_the_straightforward_loop(max_norm):
    torch.manual_seed(0)
    gradients = [torch.randn(size) * scale for size, scale in (((4, 5), 2), ((7,), 0.1), ((), 1))]
    ours, theirs = with_gradients(*gradients), with_gradients(*gradients)
    for parameters in (ours, theirs):
        parameters.append(nn.Parameter(torch.zeros(3)))  # it has no gradient
    norm, clipped = clip_each_tensor_(ours, max_norm)
    clip_one_after_the_other(theirs, max_norm)
    for parameter, expected in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)
    assert ours[3].grad is None
    expected = float(torch.cat([g.flatten() for g in gradients]).norm())
    assert norm == pytest.approx(expected, rel=1e-6)
    assert clipped == sum(gradient.norm() > max_norm for gradient in gradients)


def test_a_gradient_of_zero_stays_zero():
    (parameter,) = with_gradients(torch.zeros(3))
    norm, clipped = clip_each_tensor_([parameter], 1.0)
    assert (norm, clipped) == (0, 0)
    assert torch.equal(parameter.grad, torch.zeros(3))


def test_no_gradients_at_all():
    assert clip_each_tensor_([nn.Parameter(torch.zeros(3))], 1.0) == (0, 0)


def test_the_norm_tells_of_a_gradient_that_is_not_finite():
    finite, broken = with_gradients(torch.ones(2), torch.tensor([1.0, float("nan")]))
    norm, _ = clip_each_tensor_([finite, broken], 1.0)
    assert math.isnan(norm)
    torch.testing.assert_close(finite.grad.norm(), torch.tensor(1.0))


def test_whole_norms_of_a_rank_that_holds_nothing_of_a_tensor():
    """Over several ranks: tests/engine/test_wrappers.py."""
    held, other = with_gradients(torch.tensor([3.0, 4.0]), torch.ones(2))
    other.grad = None
    assert whole_norms([other, held], None).tolist() == [0.0, 5.0]


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 100.0])
def test_gradients_clipped_together_are_torchs(max_norm):
    torch.manual_seed(0)
    gradients = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    found, expected = with_gradients(*gradients), with_gradients(*gradients)
    without = nn.Parameter(torch.zeros(2))
    norm = clip_together_([*found, without], max_norm)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(expected, max_norm).item())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0)
    assert clip_together_([without], max_norm) == 0


@pytest.mark.parametrize("clip", [clip_each_tensor_, clip_together_])
@pytest.mark.parametrize("max_norm", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("last", [1.0, float("nan")], ids=["finite", "not finite"])
def test_on_a_device_gradients_are_clipped_to_the_same_bits(request, clip, max_norm, last):
    torch.manual_seed(0)
    gradients = [torch.randn(4, 5), 0.001 * torch.randn(7), torch.tensor([0.5, last])]
    host, device = with_gradients(*gradients), with_gradients(*gradients)
    for parameters in (host, device):
        parameters.insert(1, nn.Parameter(torch.zeros(3)))  # it has no gradient
    expected = clip(host, max_norm)
    request.getfixturevalue("pretended_device")
    found = clip(device, max_norm)
    if clip is clip_each_tensor_:
        assert all(map(torch.is_tensor, found))
    expected, found = torch.as_tensor(expected), torch.as_tensor(found)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    for theirs, ours in zip(host, device, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("as_given", [float, torch.tensor], ids=["host", "device"])
def test_norm_of_several_parts(as_given):
    """A part without gradients has 0.0, also where the others are on a device."""
    found = joint_norm([as_given(3.0), 0.0, as_given(4.0)])
    assert type(found) is type(as_given(0.0))
    assert found == 5
    assert joint_norm([0.0, 0.0]) == 0
