"""BYOL's loss against the family's arrays."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS


@pytest.mark.parametrize("case", ["two_views", "multi_crop"])
def test_loss_and_gradients_equal_the_reference(golden, case):
    """The array ``paper_loss`` is the mean over pairs of 2 - 2 cos, ``loss`` that of -cos."""
    expected = golden("family", f"byol/{case}/")
    prediction, target = (expected[name].requires_grad_() for name in ("prediction", "target"))
    found = MODELS.build({"type": "mmdino.BYOLLoss"})(prediction, target)
    found["loss"].backward()
    assert found["loss"].item() == pytest.approx(2 * expected["paper_loss"].item(), abs=1e-9)
    assert found["loss"].item() == pytest.approx(4 + 4 * expected["loss"].item(), abs=1e-9)
    assert found["cosine"].item() == pytest.approx(-expected["loss"].item(), abs=1e-9)
    torch.testing.assert_close(prediction.grad, 4 * expected["prediction_grad"], rtol=0, atol=1e-9)
    assert not expected["target_grad"].any()
    assert target.grad is None


def test_two_views_give_the_sum_of_both_orders():
    """Equation 2 of the paper, the squared distance of unit vectors, with the views swapped too."""
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 2, 6, 8, dtype=torch.float64)
    unit = torch.nn.functional.normalize
    expected = sum(
        (unit(prediction[a], dim=1) - unit(target[b], dim=1)).square().sum(1).mean()
        for a, b in ((0, 1), (1, 0))
    )
    found = MODELS.build({"type": "mmdino.BYOLLoss"})(prediction, target)["loss"]
    torch.testing.assert_close(found, expected)
