"""Sums and rows over two real ranks, and over one."""

from __future__ import annotations

import pytest
import torch
from script_process import run_script

from mmdino.models.layers import gather, gather_with_grad, own_rows, sum_over_ranks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two gloo ranks got."""
    folder = tmp_path_factory.mktemp("ranks")
    run_script("collectives_on_two_ranks.py", folder)
    return [torch.load(folder / f"{rank}.pth") for rank in (0, 1)]


@pytest.mark.parametrize("rank", [0, 1])
def test_sum_and_its_gradients_are_those_of_both_ranks(found, rank):
    """Rank r has r + 1 and the loss (r + 1) * sum^3."""
    total, gradient, second = found[rank]["sum"]
    assert total.tolist() == [3, 3]
    assert gradient.tolist() == [(1 + 2) * 3 * 3**2] * 2
    # The gradient of 3 * 3 * sum^2, of which both ranks take the sum.
    assert second.tolist() == [2 * (1 + 2) * 3 * 2 * 3] * 2


@pytest.mark.parametrize("kind", ["gather", "gather_with_grad"])
@pytest.mark.parametrize("rank", [0, 1])
def test_rows_of_a_rank_keep_their_place(found, rank, kind):
    """Rows that are not contiguous in memory, too."""
    whole = torch.arange(12.0).view(4, 3)
    assert torch.equal(found[rank][kind], whole)
    assert torch.equal(found[rank]["own"], whole[2 * rank : 2 * rank + 2])


@pytest.mark.parametrize("rank", [0, 1])
def test_gradient_of_gathered_rows_adds_up_over_the_ranks(found, rank):
    """Rank r has the loss (r + 1) * sum of squares of all rows."""
    whole = torch.arange(12.0).view(4, 3)
    expected = (1 + 2) * 2 * whole[2 * rank : 2 * rank + 2]
    assert torch.equal(found[rank]["gradient"], expected)
    assert not found[rank]["gather"].requires_grad


def test_one_process_keeps_its_tensors():
    x = torch.zeros(3, 2, requires_grad=True)
    assert sum_over_ranks(x) is x
    assert gather_with_grad(x) is x
    assert torch.equal(gather(x), x)
    assert not gather(x).requires_grad
    assert own_rows(3) == slice(0, 3)
