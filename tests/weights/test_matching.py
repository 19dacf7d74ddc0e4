"""What matches is counted, what does not is named."""

from __future__ import annotations

import pytest
import torch

from mmdino.weights.matching import compare, require_match

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


@pytest.mark.parametrize(
    ("came", "allowed", "message"),
    [
        ({"a": EXPECTED["a"], "b": EXPECTED["b"]}, "allow_missing", "missing: c.*--allow-missing"),
        (EXPECTED | {"d": torch.zeros(1)}, "allow_unexpected", "unexpected: d.*--allow-unexp"),
    ],
)
def test_a_flag_lets_through_what_is_refused_without(came, allowed, message):
    match = compare(came, EXPECTED)
    with pytest.raises(ValueError, match=message):
        require_match(match)
    require_match(match, **{allowed: True})


def test_no_flag_lets_another_shape_through():
    match = compare(EXPECTED | {"a": torch.zeros(5)}, EXPECTED)
    with pytest.raises(ValueError, match="A tensor of another shape cannot be converted"):
        require_match(match, allow_missing=True, allow_unexpected=True)


def test_part_of_a_network_cannot_be_checked():
    with pytest.raises(ValueError, match="--check computes with the whole network"):
        require_match(compare({}, EXPECTED), allow_missing=True, check=True)
