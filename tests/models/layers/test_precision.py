"""Arithmetic that keeps single precision."""

from __future__ import annotations

import pytest
import torch

from mmdino.models.layers import at_least_float32, no_autocast


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_raised_and_nothing_lowered(dtype, expected):
    assert at_least_float32(torch.ones(2, dtype=dtype)).dtype == expected


def test_no_autocast_lifts_autocast_for_its_block():
    x = torch.randn(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with no_autocast(x):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
