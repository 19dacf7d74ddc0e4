"""The head computes what the reference's head computes."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import MODELS

CASES = {
    "default": {},
    "free_g": {"norm_last_layer": False},
    "bn": {"use_bn": True},
    "one_layer": {"num_layers": 1},
}


def build(**kwargs):
    return MODELS.build(
        {
            "type": "mmdino.DINOHead",
            "in_channels": 24,
            "out_channels": 96,
            "hidden_channels": 40,
            "bottleneck_channels": 16,
            **kwargs,
        }
    )


@pytest.mark.parametrize("case", CASES)
def test_output_and_gradients_equal_the_reference(golden, case):
    arrays = golden("head", f"{case}/")
    head = build(**CASES[case]).double()
    head.load_state_dict(golden("head", f"{case}/param/"))
    head.train()
    x = arrays["input"].clone().requires_grad_()
    output = head(x)
    output.square().sum().backward()
    torch.testing.assert_close(output, arrays["output"], rtol=0, atol=1e-9)
    torch.testing.assert_close(x.grad, arrays["input_grad"], rtol=0, atol=1e-9)
    for name, parameter in head.named_parameters():
        if parameter.requires_grad:
            expected = arrays[f"grad/{name}"]
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_trainable_parameters_are_the_reference_ones(golden, case):
    head = build(**CASES[case])
    trainable = {name for name, p in head.named_parameters() if p.requires_grad}
    assert trainable == set(golden("head", f"{case}/")["trainable"])


def test_copies_share_nothing():
    head = build()
    twin = copy.deepcopy(head)
    assert {p.data_ptr() for p in head.parameters()}.isdisjoint(
        p.data_ptr() for p in twin.parameters()
    )


def test_start_is_a_narrow_normal_and_unit_prototypes():
    torch.manual_seed(0)
    head = build(hidden_channels=512)
    head.init_weights()
    assert head.mlp[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert head.mlp[0].bias.abs().max() == 0
    assert torch.equal(head.last_layer.weight_g, torch.ones(96, 1))
    assert not head.last_layer.weight_g.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_normalisation_keeps_single_precision_under_autocast(dtype):
    """With prototypes of length 1, a logit is a cosine; in half precision it could exceed 1."""
    torch.manual_seed(0)
    head = build(out_channels=16)
    seen = {}
    head.last_layer.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    with torch.autocast("cpu", dtype=dtype):
        head(torch.randn(8, 24))
    assert seen["x"].dtype == torch.float32
    torch.testing.assert_close(seen["x"].norm(dim=1), torch.ones(8))


@pytest.mark.parametrize("name", ["in_channels", "out_channels", "num_layers"])
def test_sizes_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        build(**{name: 0})
