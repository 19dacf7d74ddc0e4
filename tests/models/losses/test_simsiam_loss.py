"""SimSiam's loss against the family's arrays."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS


@pytest.mark.parametrize("case", ["two_views", "multi_crop"])
def test_loss_and_gradients_equal_the_reference(golden, case):
    """The projection gets its gradient through the predictor only: as a target it is stopped."""
    expected = golden("family", f"simsiam/{case}/")
    projection = expected["projection"].requires_grad_()
    weight = expected["predictor_weight"].requires_grad_()
    loss = MODELS.build({"type": "mmdino.SimSiamLoss"})
    found = loss(projection @ weight.T, projection[:2])["loss"]
    found.backward()
    assert found.item() == pytest.approx(expected["loss"].item(), abs=1e-9)
    for tensor, name in ((projection, "projection"), (weight, "predictor_weight")):
        torch.testing.assert_close(tensor.grad, expected[f"{name}_grad"], rtol=0, atol=1e-9)
