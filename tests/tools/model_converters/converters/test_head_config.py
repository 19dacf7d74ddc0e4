"""The config of a head is inferred from its tensors."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from converters.head_config import head_config


@pytest.mark.parametrize(
    ("num_layers", "use_bn"), [(1, False), (2, False), (2, True), (4, False), (4, True)]
)
def test_head_config_builds_the_same_head(num_layers, use_bn):
    cfg = {
        "type": "mmdino.DINOHead",
        "in_channels": 12,
        "out_channels": 32,
        "num_layers": num_layers,
        "bottleneck_channels": 8,
        "use_bn": use_bn,
    }
    cfg |= {"hidden_channels": 16} if num_layers > 1 else {}
    assert head_config(MODELS.build(cfg).state_dict()) == cfg


def test_what_is_no_head_is_refused():
    with pytest.raises(ValueError, match=r"not a projection head.*has fc\.weight"):
        head_config({"fc.weight": torch.zeros(2, 2)})


def test_the_plain_last_layer_of_dinov3_is_seen():
    tensors = {"mlp.0.weight": torch.ones(4, 12), "last_layer.weight": torch.ones(32, 4)}
    config = head_config(tensors)
    assert config["weight_norm"] is config["norm_last_layer"] is False
    assert (config["out_channels"], config["bottleneck_channels"]) == (32, 4)
