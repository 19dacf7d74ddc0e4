"""Each probe trains at its own rate, and nothing else trains."""

from __future__ import annotations

import pytest
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from torch import nn

OPTIMIZER = {"type": "SGD", "momentum": 0.9, "weight_decay": 0.0}


@pytest.fixture
def model():
    head = {"type": "mmdino.LinearProbeHead", "in_channels": 4, "num_classes": 3, "lrs": (0.1, 1)}
    model = nn.ModuleDict({"backbone": nn.Linear(4, 4), "head": MODELS.build(head)})
    model["backbone"].requires_grad_(False)
    return model


def build(model, **options):
    config = {
        "type": "mmdino.StepOptimWrapper",
        "constructor": "mmdino.LinearProbeConstructor",
        "optimizer": OPTIMIZER,
        **options,
    }
    return build_optim_wrapper(model, config)


@pytest.mark.parametrize("counts", [1, 4])
def test_groups_are_the_probes_with_rates_that_grow_with_the_micro_batches(model, counts):
    first, second = build(model, accumulative_counts=counts).optimizer.param_groups
    assert first["params"] == list(model["head"].probes[0].parameters())
    assert second["params"] == list(model["head"].probes[1].parameters())
    assert (first["lr"], second["lr"]) == (0.1 * counts, 1.0 * counts)
    assert (first["momentum"], first["weight_decay"]) == (0.9, 0.0)


def test_a_rate_of_the_optimiser_is_refused(model):
    with pytest.raises(ValueError, match=r"lr=0.1, but each probe has its own.*model.head.lrs"):
        build(model, optimizer={**OPTIMIZER, "lr": 0.1})


def test_a_backbone_that_would_train_is_refused(model):
    model["backbone"].requires_grad_(True)
    with pytest.raises(ValueError, match=r"2 parameters outside.*backbone.weight.*FrozenBackbone"):
        build(model)


def test_another_head_is_refused():
    with pytest.raises(ValueError, match=r"found 0 heads of type mmdino.LinearProbeHead"):
        build(nn.Linear(4, 3))


def test_other_bad_configs_are_refused(model):
    with pytest.raises(ValueError, match=r"paramwise_cfg=\{'bias_lr_mult': 2\}"):
        build(model, paramwise_cfg={"bias_lr_mult": 2})
    config = {"type": "mmdino.StepOptimWrapper", "constructor": "mmdino.LinearProbeConstructor"}
    with pytest.raises(ValueError, match="has no 'optimizer'"):
        build_optim_wrapper(model, config)
