"""The check of a number."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mmdino.utils.numbers import require_number


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (0, {"least": 0}),
        (1, {"most": 1}),
        (0.5, {"above": 0, "below": 1}),
        (np.float32(0.5), {"least": 0}),
        (np.int64(3), {"whole": True}),
    ],
)
def test_numbers_within_bounds_pass(value, bounds):
    require_number("Owner", "name", value, **bounds)


@pytest.mark.parametrize(
    ("value", "bounds", "error", "expected"),
    [
        (-1, {"least": 0}, ValueError, "a finite number at least 0."),
        (0, {"above": 0}, ValueError, "a finite number above 0."),
        (1.0, {"least": 0, "below": 1}, ValueError, "a finite number at least 0 and below 1."),
        (2, {"most": 1}, ValueError, "a finite number at most 1."),
        (float("nan"), {}, ValueError, "a finite number."),
        (float("inf"), {"above": 0}, ValueError, "a finite number above 0."),
        (1.5, {"least": 1, "whole": True}, TypeError, "a whole number at least 1."),
        (True, {}, TypeError, "a finite number."),
        ("abc", {}, TypeError, "a finite number."),
        (None, {}, TypeError, "a finite number."),
    ],
)
def test_other_values_are_refused(value, bounds, error, expected):
    message = f"Owner got name={value!r}; it must be {expected} Say so."
    with pytest.raises(error, match=re.escape(message)):
        require_number("Owner", "name", value, advice="Say so.", **bounds)
