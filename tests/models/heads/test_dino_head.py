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


def test_prototypes_without_weight_norm_are_a_plain_layer():
    torch.manual_seed(0)
    head = build(weight_norm=False, norm_last_layer=False)
    assert [n for n, _ in head.named_parameters() if "last" in n] == ["last_layer.weight"]
    assert head.last_layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    x = torch.randn(5, 24)
    expected = torch.nn.functional.normalize(head.mlp(x), dim=-1) @ head.last_layer.weight.T
    torch.testing.assert_close(head(x), expected)


def test_a_plain_layer_that_is_to_keep_its_length_is_refused():
    with pytest.raises(ValueError, match=r"weight_norm=False .* Set norm_last_layer=False"):
        build(weight_norm=False)


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


def head_of_the_predictor_case(arrays):
    """The student's head of the case; its MLP is left out, so that it takes the bottleneck."""
    width, hidden = arrays["teacher_bottleneck"].shape[-1], len(arrays["fc1_weight"])
    head = build(
        in_channels=width,
        num_layers=1,
        bottleneck_channels=width,
        out_channels=len(arrays["prototypes"]),
        predictor={"hidden_channels": hidden},
    ).double()
    head.mlp = torch.nn.Identity()
    names = {"0": "fc1", "1": "bn", "3": "fc2"}
    head.predictor.load_state_dict(
        {
            f"{index}.{part}": arrays[f"{name}_{part}"]
            for index, name in names.items()
            for part in ("weight", "bias")
        },
        strict=False,
    )
    head.last_layer.weight_v.data.copy_(arrays["prototypes"])
    return head, {
        name: getattr(head.predictor[int(index)], part)
        for index, layer in names.items()
        for part in ("weight", "bias")
        for name in [f"{layer}_{part}"]
    }


@pytest.mark.parametrize("chunk", [None, 4])
def test_predictor_equals_the_formula(golden, chunk):
    """Logits, loss and all gradients, with logits computed at once and by the loss."""
    arrays = golden("family", "dino/predictor/")
    head, parameters = head_of_the_predictor_case(arrays)
    loss = MODELS.build(
        {
            "type": "mmdino.DINOLoss",
            "num_prototypes": head.out_channels,
            "student_temp": float(arrays["student_temp"]),
            "teacher_temp": float(arrays["teacher_temp"]),
            "chunk": chunk,
        }
    ).double()
    loss.center.copy_(arrays["center"])
    bottleneck = arrays["student_bottleneck"].clone().requires_grad_()
    views = bottleneck.shape[:2]

    def use(logits):
        return loss(logits.unflatten(0, views), arrays["teacher_logits"])["loss"]

    x = bottleneck.flatten(0, 1)
    found = head(x, use) if chunk else use(head(x))
    found.backward()
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(
        bottleneck.grad, arrays["student_bottleneck_grad"], rtol=0, atol=1e-9
    )
    for name, parameter in parameters.items():
        torch.testing.assert_close(parameter.grad, arrays[f"{name}_grad"], rtol=0, atol=1e-9)


def test_without_a_predictor_the_logits_are_those_of_the_teacher(golden):
    arrays = golden("family", "dino/predictor/")
    head, _ = head_of_the_predictor_case(arrays)
    head.predictor = None
    logits = head(arrays["teacher_bottleneck"].flatten(0, 1))
    expected = arrays["teacher_logits"].flatten(0, 1)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)


def test_predictor_adds_names_and_changes_none():
    plain, predicting = build(), build(predictor={})
    assert predicting.predictor[0].out_features == 4096
    added = predicting.state_dict().keys() - plain.state_dict().keys()
    assert added
    assert all(name.startswith("predictor.") for name in added)
    assert plain.state_dict().keys() <= predicting.state_dict().keys()


@pytest.mark.parametrize("predictor", [True, ["hidden_channels"], {"width": 8}])
def test_predictor_is_a_dict_of_its_arguments(predictor):
    with pytest.raises(TypeError, match=r"predictor=.* some of hidden_channels, num_layers, use_b"):
        build(predictor=predictor)


@pytest.mark.parametrize("name", ["hidden_channels", "num_layers"])
def test_sizes_of_the_predictor_are_whole_numbers(name):
    with pytest.raises(ValueError, match=rf"predictor\.{name}=0; it must be a whole number"):
        build(predictor={name: 0})


def test_batch_norm_of_the_predictor_is_on_or_off():
    with pytest.raises(TypeError, match=r"predictor\.use_bn='maybe'; it must be True or False"):
        build(predictor={"use_bn": "maybe"})
    plain = build(predictor={"use_bn": False}).predictor
    assert [type(layer).__name__ for layer in plain] == ["Linear", "GELU", "Linear"]
