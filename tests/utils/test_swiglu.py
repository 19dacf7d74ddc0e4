"""Widths of the published networks."""

from __future__ import annotations

import pytest

from mmdino.utils.swiglu import swiglu_width


@pytest.mark.parametrize(
    ("hidden", "align", "expected"),
    [(6144, 8, 4096), (48, 8, 32), (64, 8, 48), (64, 64, 64), (12288, 64, 8192), (2304, 8, 1536)],
)
def test_two_thirds_rounded_up(hidden, align, expected):
    assert swiglu_width(hidden, align) == expected
