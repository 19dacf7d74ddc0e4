"""What all models do with their views."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmdino.models.selfsup.base import has_too_few_images, view_features

BACKBONES = {
    "resnet": {"type": "mmpretrain.ResNet_CIFAR", "depth": 18, "base_channels": 4},
    "vit": {
        "type": "mmdino.VisionTransformer",
        "arch": {"embed_dims": 8, "num_layers": 1, "num_heads": 2, "feedforward_channels": 16},
        "img_size": 16,
        "patch_size": 8,
    },
}
BACKBONES["resnet"]["stem_channels"] = 4
CHANNELS_LAST = torch.channels_last


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("resnet", torch.bfloat16, True),
        ("resnet", None, False),
        ("vit", torch.bfloat16, False),
    ],
)
def test_convolutions_in_half_precision_see_the_channels_last(name, dtype, expected):
    torch.manual_seed(0)
    backbone = MODELS.build(BACKBONES[name])
    neck = nn.Identity() if name == "vit" else MODELS.build({"type": "GlobalAveragePooling"})
    seen = []
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    views = [torch.randn(2, 3, 16, 16) for _ in range(2)]
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        found = view_features(views, backbone, neck)
    # A map of one place has every format.
    maps = [x for x in seen if min(x.shape[-2:]) > 1]
    assert all(x.is_contiguous(memory_format=CHANNELS_LAST) == expected for x in maps)
    assert bool(maps) == (name == "resnet")
    exact = view_features(views, backbone, neck)
    torch.testing.assert_close(found.float(), exact, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(("tracks", "expected"), [(True, False), (False, True)])
def test_batch_norms_count_that_take_statistics_of_the_batch(tracks, expected):
    norm = nn.BatchNorm1d(4, track_running_stats=tracks)
    network = nn.Sequential(norm, nn.Linear(4, 4))
    assert has_too_few_images(network, 1)
    assert not has_too_few_images(network, 2)
    norm.eval()
    assert has_too_few_images(network, 1) is expected


def test_the_advice_for_a_batch_of_one_image_can_be_followed():
    torch.manual_seed(0)
    head = {"type": "NonLinearNeck", "in_channels": 8, "hid_channels": 8, "out_channels": 8}
    head |= {"with_avg_pool": False, "norm_cfg": {"type": "BN1d"}}
    views = [torch.randn(1, 3, 16, 16)] * 2

    def loss(**changes):
        model = MODELS.build(
            {
                "type": "mmdino.StudentTeacher",
                "backbone": BACKBONES["vit"],
                "head": head | changes,
                "loss": {"type": "mmdino.SimSiamLoss"},
                "teacher": "student",
            }
        )
        return model.train()(views, mode="loss")["loss"]

    with pytest.raises(ValueError, match=r"norm_cfg=dict\(type='LN'\) with with_last_bn=False of"):
        loss()
    assert loss(norm_cfg={"type": "LN"}, with_last_bn=False).isfinite()
