"""Blocks with equal periods share them, others are refused."""

from __future__ import annotations

import pytest
import tiny_weights
import torch

from mmdino.weights.layouts.shared_periods import with_shared_periods


def test_periods_of_blocks_become_those_of_a_network_whose_blocks_share_them():
    options = tiny_weights.DINOV3["dinov3"]
    state = tiny_weights.vit(**options, position_encoding_per_block=True).state_dict()
    shared = tiny_weights.vit(**options).state_dict()
    for name in state:
        if name.endswith("position_encoding.periods"):
            state[name] = shared["position_encoding.periods"]
    found = with_shared_periods(state)
    assert found.keys() == shared.keys()
    assert torch.equal(found["position_encoding.periods"], shared["position_encoding.periods"])
    assert with_shared_periods(shared).keys() == shared.keys()


def test_blocks_with_other_periods_are_refused():
    names = [f"layers.{index}.position_encoding.periods" for index in range(2)]
    state = {name: torch.full((2,), float(index)) for index, name in enumerate(names)}
    with pytest.raises(ValueError, match=r"layers\.1\..* differs from layers\.0\..*extract it"):
        with_shared_periods(state)
