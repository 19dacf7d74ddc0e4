"""Few groups of parameters, and a learning rate that follows accumulation."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mmdino.schedules import warmup_cosine

OPTIMIZER = {"type": "AdamW", "lr": 0.001, "weight_decay": 0.04}


@pytest.fixture
def model():
    model = nn.ModuleDict(
        {"linear": nn.Linear(3, 2), "norm": nn.LayerNorm(2), "frozen": nn.Linear(2, 2)}
    )
    model["frozen"].requires_grad_(False)
    return model


def build(model, **options):
    config = {
        "type": "mmdino.StepOptimWrapper",
        "constructor": "mmdino.DecayGroupsConstructor",
        "optimizer": OPTIMIZER,
        **options,
    }
    return build_optim_wrapper(model, config)


def test_biases_and_one_dimensional_parameters_are_not_decayed(model):
    decayed, others = build(model).optimizer.param_groups
    assert decayed["params"] == [model["linear"].weight]
    assert others["params"] == [model["linear"].bias, *model["norm"].parameters()]
    assert (decayed["weight_decay"], decayed["decayed"]) == (0.04, True)
    assert (others["weight_decay"], others["decayed"]) == (0.0, False)


def test_parameters_are_left_out_of_the_decay_by_the_end_of_their_name():
    model = nn.ModuleDict({"linear": nn.Linear(3, 2), "other": nn.Linear(2, 2)})
    cfg = {"not_decayed": ["other.weight"]}
    decayed, others = build(model, paramwise_cfg=cfg).optimizer.param_groups
    assert decayed["params"] == [model["linear"].weight]
    assert others["params"] == [model["linear"].bias, *model["other"].parameters()]


@pytest.mark.parametrize("counts", [1, 4])
def test_rate_is_multiplied_by_the_micro_batches(model, counts):
    wrapper = build(model, accumulative_counts=counts)
    assert wrapper.get_lr()["lr"] == [0.001 * counts] * 2
    assert OPTIMIZER["lr"] == 0.001


def test_rate_of_the_optimiser_itself_is_left_to_it(model):
    wrapper = build(model, accumulative_counts=4, optimizer={"type": "Adam"})
    assert wrapper.get_lr()["lr"] == [0.001] * 2


def test_lars_adapts_the_rate_of_decayed_parameters_only(model):
    """As the authors' does: by 0.001 * |w| / |g + decay * w| for matrices."""
    cfg = {"type": "LARS", "lr": 0.3, "momentum": 0.9, "weight_decay": 1e-6}
    optimizer = build(model, optimizer=cfg).optimizer
    weight, bias = model["linear"].weight, model["linear"].bias
    start = weight.detach().clone(), bias.detach().clone()
    weight.grad, bias.grad = torch.full_like(weight, 2.0), torch.full_like(bias, 2.0)
    optimizer.step()
    update = 2.0 + 1e-6 * start[0]
    rate = 0.3 * 0.001 * start[0].norm() / update.norm()
    torch.testing.assert_close(weight.detach(), start[0] - rate * update, rtol=1e-5, atol=0)
    torch.testing.assert_close(bias.detach(), start[1] - 0.3 * 2.0)


SCHEDULES = [
    {"type": "mmdino.WarmupCosineLR", "warmup": 2, "end_ratio": 0.1, "by_epoch": False, "end": 6},
    {"type": "CosineAnnealingLR", "T_max": 6, "eta_min_ratio": 0.1, "by_epoch": False},
    {"type": "LinearLR", "start_factor": 0.5, "by_epoch": False, "end": 6},
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["type"])
def test_rates_of_named_modules_stay_constant_under_any_schedule(model, schedule):
    cfg = {"type": "SGD", "lr": 0.1, "weight_decay": 1e-4}
    wrapper = build(model, optimizer=cfg, paramwise_cfg={"constant_lr": ["norm"]})
    groups = wrapper.optimizer.param_groups
    assert [group["decayed"] for group in groups] == [True, False, False]
    assert groups[-1]["params"] == [*model["norm"].parameters()]
    scheduler = PARAM_SCHEDULERS.build(schedule, default_args={"optimizer": wrapper})
    rates = []
    for _ in range(6):
        before = model["norm"].bias.detach().clone()
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        wrapper.step()
        torch.testing.assert_close(model["norm"].bias.detach(), before - 0.1, rtol=0, atol=1e-7)
        rates.append(groups[0]["lr"])
        scheduler.step()
    assert len(set(rates)) > 1


@pytest.mark.parametrize("end", [{"end_ratio": 0.1}, {"end_lr": 0.01}], ids=["ratio", "rate"])
def test_rate_of_biases_and_norms_has_a_factor_at_every_step(model, end):
    wrapper = build(
        model, accumulative_counts=2, paramwise_cfg={"one_dim_lr_mult": 0.024, "constant_lr": []}
    )
    cfg = {"type": "mmdino.WarmupCosineLR", "warmup": 2, "by_epoch": False, "end": 12, **end}
    scheduler = PARAM_SCHEDULERS.build(cfg, default_args={"optimizer": wrapper})
    decayed, others = wrapper.optimizer.param_groups
    assert decayed["initial_lr"] == 0.002
    for _ in range(12):
        assert others["lr"] == pytest.approx(0.024 * decayed["lr"], abs=1e-12)
        scheduler.step()
    assert decayed["lr"] == warmup_cosine(5, 6, 1, 0.002, end.get("end_lr", 0.0002))


def test_rate_follows_the_root_of_the_batch(model):
    """As a run on eight times the batch of the config, by accumulation or by mmengine's scaling."""
    cfg = {"type": "mmdino.WarmupCosineLR", "warmup": 0, "by_epoch": False, "end": 8}
    paramwise = {"batch_rule": "sqrt", "one_dim_lr_mult": 0.5}
    for counts, ratio in ((1, 8), (8, 1), (2, 4)):
        wrapper = build(model, accumulative_counts=counts, paramwise_cfg=paramwise)
        for group in wrapper.optimizer.param_groups:
            group["lr"] *= ratio
        PARAM_SCHEDULERS.build(cfg, default_args={"optimizer": wrapper})
        rates = [group["lr"] for group in wrapper.optimizer.param_groups]
        assert rates == pytest.approx([0.001 * 8**0.5, 0.0005 * 8**0.5])


def test_networks_have_groups_of_their_own_where_gradients_are_clipped_by_them(model):
    clip = {"type": "per_network", "max_norm": 3.0}
    groups = build(model, clip_grad=clip).optimizer.param_groups
    assert [group["network"] for group in groups] == ["linear", "linear", "norm"]


def test_a_wrapper_for_several_devices_changes_no_group(model):
    """Its names begin with "module.", the names of modules in a config do not."""
    options = {
        "paramwise_cfg": {"constant_lr": ["norm"]},
        "clip_grad": {"type": "per_network", "max_norm": 3.0},
    }
    groups, wrapped = (
        build(network, **options).optimizer.param_groups
        for network in (model, nn.DataParallel(model))
    )
    assert len(wrapped) == len(groups) == 3
    for found, expected in zip(wrapped, groups, strict=True):
        parameters, same = found.pop("params"), expected.pop("params")
        assert all(p is q for p, q in zip(parameters, same, strict=True))
        assert found == expected


def test_bad_configs_are_refused(model):
    message = r"paramwise_cfg=\{'bias_lr_mult': 2\}; it knows one_dim_lr_mult, constant_lr, layer_"
    with pytest.raises(ValueError, match=message):
        build(model, paramwise_cfg={"bias_lr_mult": 2})
    for name, value in {
        "one_dim_lr_mult": -1,
        "layer_decay": 0,
        "patch_embed_lr_mult": 2,
        "batch_rule": "cubic",
    }.items():
        with pytest.raises(ValueError, match=rf"paramwise_cfg\.{name}={value!r}"):
            build(model, paramwise_cfg={name: value})
    with pytest.raises(ValueError, match="tells the depth of its layers"):
        build(model, paramwise_cfg={"layer_decay": 0.9})
    with pytest.raises(ValueError, match=r"but no rate\. Set optim_wrapper\.optimizer\.lr"):
        build(model, optimizer={"type": "SGD"}, paramwise_cfg={"one_dim_lr_mult": 0.024})
    with pytest.raises(TypeError, match=r"paramwise_cfg=3; it must be a dict"):
        build(model, paramwise_cfg=3)
    for names in (3, [1], "", [""]):
        for key in ("constant_lr", "not_decayed"):
            with pytest.raises(TypeError, match=rf"{key}=.*; it must be a list of names"):
                build(model, paramwise_cfg={key: names})
    message = r"not_decayed names inear\.weight, which no trainable parameter of a .* ends with"
    with pytest.raises(ValueError, match=message):
        build(model, paramwise_cfg={"not_decayed": ["inear.weight", "linear.weight"]})
    message = r"constant_lr names frozen, predictor, which has no trainable .* linear, norm, frozen"
    with pytest.raises(ValueError, match=message):
        build(model, paramwise_cfg={"constant_lr": ["linear", "predictor", "frozen"]})
    config = {
        "type": "mmdino.StepOptimWrapper",
        "constructor": "mmdino.DecayGroupsConstructor",
    }
    with pytest.raises(ValueError, match="has no 'optimizer'"):
        build_optim_wrapper(model, config)


def trained(dtype, **optimizer):
    """All parameters after five steps, and the optimiser."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 6)).to(dtype)
    wrapper = build(model, optimizer={"lr": 0.01, **optimizer})
    images = torch.randn(5, 8, 24, dtype=dtype)
    for batch in images:
        wrapper.update_params(model(batch).square().mean())
    return torch.cat([p.detach().flatten() for p in model.parameters()]), wrapper.optimizer


@pytest.mark.parametrize(
    "optimizer",
    [{"type": "AdamW", "weight_decay": 0.4}, {"type": "Adam"}],
    ids=["AdamW", "Adam"],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_fused_kernel_is_the_default_and_equal(optimizer, dtype, tolerance):
    fused, by_default = trained(dtype, **optimizer)
    plain, _ = trained(dtype, **optimizer, fused=False)
    assert by_default.defaults["fused"]
    torch.testing.assert_close(fused, plain, rtol=0, atol=tolerance)


def test_optimisers_without_a_fused_kernel_and_choices_of_ones_own_stay():
    for optimizer in ({"type": "AdamW", "foreach": True}, {"type": "AdamW", "fused": False}):
        assert not trained(torch.float32, **optimizer)[1].defaults["fused"]
    assert "fused" not in trained(torch.float32, type="RMSprop")[1].defaults
    # It cannot start the momentum of the last layer after the freeze.
    assert not trained(torch.float32, type="SGD", momentum=0.9)[1].defaults["fused"]
