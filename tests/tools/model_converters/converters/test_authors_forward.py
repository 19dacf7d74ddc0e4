"""The plain functions compute what the reference's networks compute."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from converters.authors_forward import head_logits, vit_feature
from converters.head_config import head_config


@pytest.mark.parametrize("shape", ["same", "local", "wide"])
@pytest.mark.parametrize("case", ["p8", "p16"])
def test_vit_is_the_references(golden, case, shape):
    reference = golden("vit", f"{case}/{shape}/")
    feature = vit_feature(golden("vit", f"{case}/param/"), reference["input"], num_heads=2)
    torch.testing.assert_close(feature, reference["cls"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", ["default", "free_g", "one_layer"])
def test_head_is_the_references(golden, case):
    reference = golden("head", f"{case}/")
    logits = head_logits(golden("head", f"{case}/param/"), reference["input"])
    torch.testing.assert_close(logits, reference["output"], rtol=0, atol=1e-9)


def test_head_with_batch_norm_uses_its_running_statistics(golden):
    """The reference's figures are of train mode, so the head of the training is the measure."""
    tensors = golden("head", "bn/param/")
    generator = torch.Generator().manual_seed(0)
    for name in tensors:
        if "running" in name:
            tensors[name] = torch.rand(40, generator=generator, dtype=torch.float64) + 0.5
    head = MODELS.build(head_config(tensors)).double().eval()
    head.load_state_dict(tensors)
    features = golden("head", "bn/")["input"]
    torch.testing.assert_close(head_logits(tensors, features), head(features), rtol=0, atol=1e-9)
