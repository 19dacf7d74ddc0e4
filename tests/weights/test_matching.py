"""What matches is counted, what does not is named."""

from __future__ import annotations

import torch

from mmdino.weights.matching import compare

EXPECTED = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}


def test_counts_and_names():
    match = compare({"a": torch.zeros(2), "b": torch.zeros(4), "d": torch.zeros(1)}, EXPECTED)
    assert not match.complete
    assert str(match) == (
        "1 of 3 tensors matched; 1 missing: c; 1 of another shape: b (4,) instead of (3,); "
        "1 unexpected: d"
    )


def test_a_long_list_is_cut():
    match = compare({}, {str(index): torch.zeros(1) for index in range(20)})
    assert str(match).endswith("20 missing: 0, 1, 2, 3, 4, 5, 6, 7 and 12 more")
