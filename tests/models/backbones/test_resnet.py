"""ResNet-50 computes what torchvision's computes, from its weights."""

from __future__ import annotations

import pytest
import torch
import torchvision
from mmengine.registry import MODELS


def build(**options):
    return MODELS.build({"type": "mmdino.ResNet", "out_indices": (3,), **options})


def test_last_map_pooled_is_torchvisions_feature():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50()
    theirs.fc = torch.nn.Identity()
    ours = build()
    ours.load_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[-1].mean((2, 3)), theirs(images))


def test_starts_with_the_last_norm_of_a_block_at_one():
    resnet = build(depth=18)
    resnet.init_weights()
    assert resnet.layer1[0].bn2.weight.eq(1).all()


def test_pretrained_weights_of_another_depth_are_refused(tmp_path):
    torch.save(build(depth=18).state_dict(), tmp_path / "resnet18.pth")
    resnet = build(
        depth=34, init_cfg={"type": "Pretrained", "checkpoint": f"{tmp_path}/resnet18.pth"}
    )
    with pytest.raises(ValueError, match=r"resnet18\.pth"):
        resnet.init_weights()
