"""A clock that tests advance themselves."""

from __future__ import annotations

import pytest

from common import feeding, timing


class Clock:
    """Stands in for the module ``time`` where code measures; only :meth:`sleep` advances it."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock of what is measured in a test."""
    clock = Clock()
    for module in (feeding, timing):
        monkeypatch.setattr(module, "time", clock)
    return clock
