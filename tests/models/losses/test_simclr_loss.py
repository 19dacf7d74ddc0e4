"""SimCLR's loss against the family's arrays, and its choice of pairs."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS


def loss_of(z, num_globals=2, **kwargs):
    return MODELS.build({"type": "mmdino.SimCLRLoss", **kwargs})(z, z[:num_globals])["loss"]


@pytest.mark.parametrize(
    ("case", "pairs"), [("t01", "all"), ("t01", "global"), ("t05", "global"), ("all_pairs", "all")]
)
def test_loss_and_gradient_equal_the_reference(golden, case, pairs):
    expected = golden("family", f"simclr/{case}/")
    z = expected["z"].requires_grad_()
    found = loss_of(z, temperature=float(expected["temperature"]), pairs=pairs)
    found.backward()
    assert found.item() == pytest.approx(expected["loss"].item(), abs=1e-9)
    torch.testing.assert_close(z.grad, expected["z_grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("num_globals", [1, 2, 3])
def test_global_pairs_are_the_mean_over_pairs_of_a_global_and_another_view(num_globals):
    torch.manual_seed(0)
    z = torch.randn(4, 5, 8, dtype=torch.float64)
    expected = torch.stack(
        [
            loss_of(z[[target, source]])
            for target in range(num_globals)
            for source in range(4)
            if source != target
        ]
    ).mean()
    torch.testing.assert_close(loss_of(z, num_globals, pairs="global"), expected)


def test_cosine_of_equal_views_is_one():
    z = torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0)).expand(3, 4, 8)
    found = MODELS.build({"type": "mmdino.SimCLRLoss"})(z, z[:2])
    assert found["cosine"].item() == pytest.approx(1)


def test_unknown_pairs_are_refused():
    with pytest.raises(ValueError, match="pairs='local'; it must be 'global' or 'all'"):
        MODELS.build({"type": "mmdino.SimCLRLoss", "pairs": "local"})
