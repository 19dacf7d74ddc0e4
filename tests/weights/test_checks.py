"""What is no set of weights is refused with the first name."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from mmengine.registry import MODELS

from mmdino.weights.checks import non_finite, require_weights, state_dict_of
from mmdino.weights.networks import backbone_weights

NAN = torch.tensor([1.0, float("nan")])
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_values_that_are_not_finite_are_found_in_each_dtype(dtype, value):
    bad = torch.tensor([0.0, float(value)]).to(dtype)
    good = torch.tensor([0.0, 3.0]).to(dtype)
    assert non_finite({"good": good, "bad": bad, "empty": good[:0]}) == ["bad"]


def test_integers_and_complex_numbers_are_looked_at_too():
    tensors = {"count": torch.tensor(3), "flag": torch.tensor(True), "complex": NAN * 1j}
    assert non_finite(tensors) == ["complex"]


def test_large_numbers_whose_sum_is_infinite_are_finite():
    assert non_finite({"a": torch.full((4,), torch.finfo(torch.float32).max)}) == []


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.uint8])
def test_weights_are_floating_point_numbers(dtype):
    tensors = {"good": torch.ones(1), "bad": torch.ones(1, dtype=dtype)}
    with pytest.raises(
        ValueError, match=f"not floating-point numbers: 1 tensors, first 'bad' of {dtype}"
    ):
        require_weights(tensors, "a.pth")


def test_counters_of_batch_norms_are_integers():
    require_weights({"bn.num_batches_tracked": torch.tensor(3), "w": torch.ones(1)}, "a.pth")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "a.pth has no named tensors, but an empty dict"),
        ({"epoch": 3}, "a.pth has no named tensors, but epoch"),
        ({3: torch.ones(1)}, "a.pth has a tensor named 3, of type int"),
        ({"w": torch.ones(1), "lr": 0.1}, "has 1 values that are no tensors, first 'lr'"),
        ({"x" * 10**6: 3}, r"but x{80}\. Expected"),
    ],
)
def test_what_is_no_state_dict_is_refused(mapping, message):
    with pytest.raises(ValueError, match=message):
        state_dict_of(mapping, "a.pth")


def test_what_may_be_beside_the_tensors():
    tensors = {"w": torch.ones(1)}
    assert state_dict_of(tensors | {"layer._extra_state": None}, "a.pth") == tensors
    assert state_dict_of(tensors | {"epoch": 3}, "a.pth", strict=False) == tensors


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state | {"ln1.bias": torch.full((12,), float("inf"))}, "not finite: 1 ten"),
        (lambda state: {k: v.to(torch.int64) for k, v in state.items()}, "first .* of torch.int64"),
        (lambda state: {k: v.cfloat() for k, v in state.items()}, "first .* of torch.complex64"),
        (lambda state: {}, "an empty dict"),
        (lambda state: {"state_dict": {}}, "an empty dict"),
        (lambda state: {"state_dict": state | {"x": 1}}, "no tensors, first 'x'"),
        (lambda state: state | {3: torch.ones(1)}, "a tensor named 3"),
        (lambda state: {"teacher": {}, "student": {}}, "an empty dict"),
        (lambda state: {"model": {"model": state}}, "no named tensors, but model"),
    ],
)
def test_a_backbone_is_not_loaded_from_it(tmp_path, spoil, message):
    torch.save(spoil(tiny_weights.vit().state_dict()), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        backbone_weights(tmp_path / "a.pth", num_heads=2)
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "a.pth")}
    with pytest.raises(ValueError, match=message):
        MODELS.build(tiny_weights.VIT | {"patch_size": 8, "init_cfg": init_cfg}).init_weights()


def test_a_dict_that_contains_itself_is_refused(tmp_path):
    content = {}
    content["model"] = content
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="no named tensors, but model"):
        backbone_weights(tmp_path / "a.pth")
