"""Nearest neighbours on a GPU are those on a CPU."""

from __future__ import annotations

import pytest
import torch

from mmdino.evaluation.knn import nearest_neighbours


@pytest.mark.parametrize(("bank_size", "k"), [(300, 200), (200_000, 20)])
def test_neighbours_are_those_on_a_cpu(bank_size, k):
    generator = torch.Generator().manual_seed(0)
    bank, queries = (
        torch.randn(count, 32, generator=generator, dtype=torch.float64)
        for count in (bank_size, 50)
    )
    expected = nearest_neighbours(queries, bank, k)
    found = nearest_neighbours(queries.cuda(), bank, k)
    assert found[0].is_cuda
    torch.testing.assert_close(found[0].cpu(), expected[0], rtol=0, atol=1e-12)
    assert torch.equal(found[1].cpu(), expected[1])
