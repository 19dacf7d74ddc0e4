"""The loss of Barlow Twins against the family's arrays, its terms and its memory."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def build(**kwargs):
    return MODELS.build({"type": "mmdino.BarlowTwinsLoss", **kwargs})


@pytest.mark.parametrize("case", ["paper", "lightly", "multi_crop"])
def test_loss_and_gradient_equal_the_reference(golden, case):
    expected = golden("family", f"barlow/{case}/")
    z = expected["z"].requires_grad_()
    found = build(lambd=float(expected["lambd"]))(z, z[:2])["loss"]
    found.backward()
    assert found.item() == pytest.approx(expected["loss"].item(), abs=1e-9)
    torch.testing.assert_close(z.grad, expected["z_grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 16), (2, 16, 3), (4, 8, 8)], ids=str)
def test_terms_are_those_of_the_cross_correlation(shape):
    """Whether there are more channels or more images."""
    torch.manual_seed(0)
    z = torch.randn(shape, dtype=torch.float64)
    unit = (z - z.mean(1, keepdim=True)) / (z.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    terms = []
    for target in range(2):
        for source in range(shape[0]):
            if source != target:
                c = unit[target].T @ unit[source] / shape[1]
                beside = c[~torch.eye(shape[2], dtype=torch.bool)]
                terms.append(torch.stack([(1 - c.diag()).square().sum(), beside.square().sum()]))
    invariance, redundancy = torch.stack(terms).mean(0)
    found = build(lambd=0.1)(z, z[:2])
    torch.testing.assert_close(found["invariance"], invariance)
    torch.testing.assert_close(found["redundancy"], redundancy)
    torch.testing.assert_close(found["loss"], invariance + 0.1 * redundancy)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest result of any operation."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.numel = max(self.numel, leaf.numel())
        return result


def test_no_matrix_of_channels_by_channels_is_made():
    """The authors' width of 8192 makes that 256 MiB a pair."""
    z = torch.randn(2, 4, 8192, requires_grad=True)
    with LargestTensor() as largest:
        build()(z, z[:2])["loss"].backward()
    assert largest.numel == z.numel()
