"""Periods are the powers of a base, which is found again."""

from __future__ import annotations

import pytest
import torch

from mmdino.utils.rotary import rotary_base, rotary_periods


def test_periods_of_a_head_of_16_channels():
    expected = torch.tensor([1.0, 100**0.25, 10.0, 100**0.75])
    torch.testing.assert_close(rotary_periods(16), expected)


@pytest.mark.parametrize("base", [10.0, 100.0, 10_000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_base_is_found_in_periods_that_are_rounded(base, dtype):
    periods = rotary_periods(64, base).bfloat16().to(dtype)
    assert rotary_base(periods) == pytest.approx(base, rel=0.01)
    assert base != 100 or rotary_base(periods) == 100


@pytest.mark.parametrize(
    "periods", [torch.tensor([1.0, 2.0, 3.0]), torch.zeros(4), torch.zeros(0), torch.ones(2, 2)]
)
def test_periods_of_no_base_are_refused(periods):
    with pytest.raises(ValueError, match="are not the powers of a base"):
        rotary_base(periods)
