"""Devices without float64."""

from __future__ import annotations

import pytest
import torch

from mmdino.evaluation.ridge_probe import ridge_accuracy
from mmdino.models.losses.ibot_loss import masked_patch_weights
from mmdino.utils import float64


def test_a_device_without_float64_computes_in_float32(monkeypatch):
    """Apple's GPUs refuse a float64 tensor."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 8, generator=generator)
    labels = torch.arange(60) % 3
    features[range(60), labels] += 3
    masks = torch.rand(4, 9, generator=generator) < 0.5
    indices = masks.flatten().nonzero().squeeze(1)
    accuracy = ridge_accuracy(features[:30], labels[:30], features[30:], labels[30:])
    weights = masked_patch_weights(masks, indices)
    monkeypatch.setattr(float64, "WITHOUT_FLOAT64", ("cpu",))
    assert ridge_accuracy(features[:30], labels[:30], features[30:], labels[30:]) == pytest.approx(
        accuracy
    )
    single = masked_patch_weights(masks, indices)
    assert (weights.dtype, single.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(single.double(), weights, rtol=1e-6, atol=0)
