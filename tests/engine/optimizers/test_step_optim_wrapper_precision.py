"""Autocast and loss scaling of StepOptimWrapper."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(4, 2)


def build(layer, fused=False, **options):
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
    return OPTIM_WRAPPERS.build(
        {"type": "mmdino.StepOptimWrapper", "optimizer": optimizer, **options}
    )


def train_step(wrapper, layer):
    with wrapper.optim_context(layer):
        output = layer(torch.ones(3, 4))
    wrapper.update_params(output.float().square().sum())
    return output


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
        ("float32", torch.float32),
    ],
)
def test_forward_runs_in_the_precision_asked_for(layer, precision, expected):
    output = train_step(build(layer, precision=precision), layer)
    assert output.dtype == expected
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("precision", "scales"),
    [("float32", False), ("bfloat16", False), ("auto", False), ("float16", True)],
)
def test_only_float16_scales_the_loss(layer, precision, scales):
    assert build(layer, precision=precision).scales_loss is scales


def test_bfloat16_scales_no_loss(layer):
    wrapper = build(layer, precision="bfloat16", loss_scale=2.0**100)
    train_step(wrapper, layer)
    assert wrapper.step_taken
    assert wrapper.state_dict()["loss_scaler"] == {}


def test_gradients_are_clipped_as_they_are_without_the_scale(layer):
    """A scale of 1024 would have every gradient clipped."""
    wrapper = build(
        layer,
        precision="float16",
        loss_scale=1024.0,
        clip_grad={"type": "per_tensor", "max_norm": 1000.0},
    )
    train_step(wrapper, layer)
    scalars = wrapper.message_hub.log_scalars
    assert scalars["train/clipped_tensors"].current() == 0
    assert 1 < scalars["train/grad_norm"].current() < 1000


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_a_step_that_overflows_is_skipped_and_the_scale_lowered(layer, fused):
    """A fused optimiser is called even so, and does nothing."""
    wrapper = build(
        layer,
        fused,
        precision="float16",
        loss_scale={"init_scale": 2.0**30, "backoff_factor": 2.0**-20},
    )
    start = layer.weight.clone()
    train_step(wrapper, layer)
    assert not wrapper.step_taken
    assert torch.equal(layer.weight, start)
    train_step(wrapper, layer)
    assert wrapper.step_taken
    assert not torch.equal(layer.weight, start)


def test_a_fixed_scale_stays(layer):
    wrapper = build(layer, precision="float16", loss_scale=2.0**30)
    for _ in range(3):
        train_step(wrapper, layer)
        assert not wrapper.step_taken
        assert wrapper.loss_scaler.get_scale() == 2.0**30


def test_state_holds_the_scale(layer):
    options = {"precision": "float16", "loss_scale": {"init_scale": 2.0**30}}
    wrapper = build(layer, **options)
    train_step(wrapper, layer)
    state = wrapper.state_dict()
    other = build(layer, **options)
    other.load_state_dict(state)
    assert other.loss_scaler.get_scale() == wrapper.loss_scaler.get_scale() == 2.0**29
    assert "loss_scaler" in state, "the caller's state stays as it is"


def test_state_of_a_run_in_single_precision_is_taken(layer):
    plain = OPTIM_WRAPPERS.build(
        {
            "type": "mmdino.StepOptimWrapper",
            "optimizer": torch.optim.AdamW(layer.parameters(), lr=0.3),
        }
    )
    wrapper = build(layer, precision="float16")
    wrapper.load_state_dict(plain.state_dict())
    assert wrapper.get_lr()["lr"] == [0.3]
    plain.load_state_dict(build(layer, precision="float16").state_dict())
    assert plain.get_lr()["lr"] == [0.1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_state_without_a_scaler_is_taken(layer, precision):
    """Runs in single precision used to write one."""
    state = build(layer).state_dict()
    del state["loss_scaler"]
    state["param_groups"][0]["lr"] = 0.3
    wrapper = build(layer, precision=precision)
    wrapper.load_state_dict(state)
    assert wrapper.get_lr()["lr"] == [0.3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precision": "fp16"},
            r"precision='fp16'; it must be one of \['float32', 'bfloat16', 'float16', 'auto'\]",
        ),
        ({"precision": None}, "precision=None"),
        ({"loss_scale": "static"}, "loss_scale='static'"),
        ({"loss_scale": 0}, "loss_scale=0"),
        ({"loss_scale": -1.0}, "loss_scale=-1.0"),
        ({"loss_scale": None}, "loss_scale=None"),
    ],
)
def test_bad_arguments_are_refused(layer, options, message):
    with pytest.raises(ValueError, match=message):
        build(layer, **options)
