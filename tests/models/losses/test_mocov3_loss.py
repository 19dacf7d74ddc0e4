"""MoCo v3's loss against the family's arrays."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS


@pytest.mark.parametrize("case", ["two_views", "t1", "multi_crop"])
def test_loss_and_gradients_equal_the_reference(golden, case):
    expected = golden("family", f"mocov3/{case}/")
    prediction, target = (expected[name].requires_grad_() for name in ("prediction", "target"))
    temperature = float(expected["temperature"])
    loss = MODELS.build({"type": "mmdino.MoCoV3Loss", "temperature": temperature})
    found = loss(prediction, target)["loss"]
    found.backward()
    assert found.item() == pytest.approx(expected["loss"].item(), abs=1e-9)
    torch.testing.assert_close(prediction.grad, expected["prediction_grad"], rtol=0, atol=1e-9)
    assert not expected["target_grad"].any()
    assert target.grad is None


def test_accuracy_is_the_share_of_queries_whose_nearest_key_is_their_own():
    """Keys are unit vectors; in one of two pairs two of four queries are swapped."""
    keys = torch.eye(4).expand(2, 4, 4)
    queries = keys.clone()
    queries[0] = keys[0, [1, 0, 2, 3]]
    found = MODELS.build({"type": "mmdino.MoCoV3Loss"})(queries, keys)
    assert found["contrast_accuracy"].item() == pytest.approx((0.5 + 1) / 2)
