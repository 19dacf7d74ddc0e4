"""Kernels of a GPU compute what plain operations on a CPU do, up to rounding."""

from __future__ import annotations

import copy

import pytest
import tiny_run
import torch
from mmengine.registry import MODELS

SIZES = (224, 96)


@pytest.fixture(scope="module")
def vit():
    """A ViT of the width of ViT-S, with weights that are not zero, and less depth."""
    torch.manual_seed(0)
    arch = {"embed_dims": 384, "num_layers": 2, "num_heads": 6, "feedforward_channels": 1536}
    cfg = tiny_run.vit_model()["backbone"] | {"arch": arch, "img_size": 224, "patch_size": 16}
    network = MODELS.build(cfg)
    for parameter in network.parameters():
        parameter.data.normal_(std=0.05)
    return network


def gradients(network, images, dtype=None):
    """Feature and gradients of all parameters, as one vector in float64 on the CPU."""
    network.zero_grad()
    with torch.autocast(images.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
        feature = network(images)[-1]
    feature.float().sin().sum().backward()
    parts = [feature.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]
    return torch.cat([part.double().flatten().cpu() for part in parts])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(None, 1e-3), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)]
)
def test_features_and_gradients_are_those_of_a_cpu(vit, size, dtype, tolerance):
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = gradients(vit, images)
    found = gradients(copy.deepcopy(vit).cuda(), images.cuda(), dtype)
    assert (found - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_compiled_is_as_it_is(vit, dtype):
    network = copy.deepcopy(vit).cuda()
    images = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(1)).cuda()
    expected = gradients(network, images, dtype)
    network.compile(fullgraph=True)
    found = gradients(network, images, dtype)
    assert (found - expected).norm() < (1e-3 if dtype is None else 3e-2) * expected.norm()
