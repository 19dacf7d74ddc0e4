"""Durations in words."""

from __future__ import annotations

import pytest

from mmdino.utils.progress import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (99, "99 s"),
        (600, "10 min"),
        (4800, "1 h 20 min"),
        (172_000, "47 h 47 min"),
        (400_000, "4.6 days"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text
