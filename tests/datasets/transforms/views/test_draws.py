"""Batched draws are uniform."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmdino.datasets.transforms.views.draws import BATCH, BatchedDraws

DRAWS = 20 * BATCH + 7


@pytest.fixture
def draws() -> BatchedDraws:
    return BatchedDraws(np.random.default_rng(0))


def assert_even(values, number):
    counts = Counter(values)
    expected = len(values) / number
    assert len(counts) == number
    assert max(abs(count - expected) for count in counts.values()) < 4.5 * np.sqrt(expected)


def test_numbers_are_even_and_never_come_twice(draws):
    numbers = [draws.random() for _ in range(DRAWS)]
    assert len(set(numbers)) == DRAWS
    assert 0 <= min(numbers) <= max(numbers) < 1
    assert_even([int(10 * number) for number in numbers], 10)


def test_integers_are_even(draws):
    assert_even([draws.integers(7) for _ in range(DRAWS)], 7)
    assert draws.integers(1) == 0


def test_all_orders_are_even(draws):
    orders = [draws.permutation(4) for _ in range(DRAWS)]
    assert_even(orders, 24)
    assert sorted(orders[0]) == [0, 1, 2, 3]


def test_draws_follow_from_the_seed():
    first, second, other = (BatchedDraws(np.random.default_rng(seed)) for seed in (3, 3, 4))
    numbers = [first.random() for _ in range(2 * BATCH)]
    assert numbers == [second.random() for _ in range(2 * BATCH)]
    assert numbers[0] != other.random()
