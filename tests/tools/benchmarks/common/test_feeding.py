"""Steps on delivered batches: how many, how long, and who waits for whom."""

from __future__ import annotations

import multiprocessing
import time
from itertools import count, repeat

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from common.feeding import feed

SLOW = 0.03


class Sleepy(Dataset):
    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return 1 << 30

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return index


@pytest.mark.parametrize(
    ("views", "step", "waiting", "busy"),
    [(SLOW, 0.0, (0.8, 1.0), (0.0, 0.2)), (0.0, SLOW, (0.0, 0.2), (0.8, 1.0))],
    ids=["views are slow", "step is slow"],
)
def test_the_slower_of_views_and_step_is_waited_for(views, step, waiting, busy):
    feeding = feed(
        DataLoader(Sleepy(views), batch_size=1, num_workers=1, persistent_workers=True),
        lambda batch: time.sleep(step),
        seconds=10 * SLOW,
        warmup=2,
    )
    assert waiting[0] <= feeding.waiting <= waiting[1]
    assert busy[0] <= feeding.busy <= busy[1]
    assert feeding.seconds / feeding.steps > 0.7 * SLOW
    assert not multiprocessing.active_children(), "workers end with the measurement"


def test_each_worker_makes_the_same_number_of_measured_batches():
    seen = []

    def step(batch):
        seen.append(batch)
        time.sleep(0.001)

    feeding = feed(count(), step, seconds=0.01, warmup=5, period=4)
    assert feeding.steps % 4 == 0
    assert seen == list(range(5 + feeding.steps)), "the warm-up's batches do not count"


def test_an_accelerator_is_waited_for_before_and_after_alone(monkeypatch):
    """A stream without a GPU: the device takes twice the time in which steps are handed to it."""
    calls = []
    finished = 0.0

    def wait(device):
        calls.append("wait")
        time.sleep(max(0.0, finished - time.perf_counter()))

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            assert stream == "stream of cuda:1"
            self.at = max(finished, time.perf_counter())

        def elapsed_time(self, end):
            assert calls[-1] == "wait", "events are read when all of them have passed"
            return 1000 * (end.at - self.at)

    def step(batch):
        nonlocal finished
        calls.append("step")
        time.sleep(0.01)
        finished = max(finished, time.perf_counter()) + 0.02

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    feeding = feed(repeat(None), step, seconds=0.1, warmup=1, device="cuda:1")
    assert calls == ["step", "wait", *["step"] * feeding.steps, "wait"]
    assert 0.8 <= feeding.busy <= 1
    assert feeding.seconds / feeding.steps > 0.015
