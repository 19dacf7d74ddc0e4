"""Steps on delivered batches: how many, how long, and which side waits for the other."""

from __future__ import annotations

import multiprocessing
from itertools import count, repeat

import pytest
import torch
from torch.utils.data import DataLoader

from common.feeding import feed


def one_worker(clock, seconds):
    """Batches of a worker that makes the next one while the step is busy with the last."""
    ready = clock.now + seconds
    for number in count():
        clock.sleep(max(0, ready - clock.now))
        ready = clock.now + seconds
        yield number


@pytest.mark.parametrize(
    ("views", "step", "waiting", "busy"),
    [(3, 0, 1, 0), (0, 3, 0, 1), (4, 1, 0.75, 0.25), (1, 4, 0, 1)],
    ids=["only views", "only step", "views are slow", "step is slow"],
)
def test_the_slower_of_views_and_step_is_waited_for(clock, views, step, waiting, busy):
    feeding = feed(one_worker(clock, views), lambda _: clock.sleep(step), seconds=30, warmup=2)
    assert feeding.waiting == waiting
    assert feeding.busy == busy
    assert feeding.seconds / feeding.steps == max(views, step)
    assert 30 <= feeding.seconds < 30 + max(views, step)


def test_workers_end_with_the_measurement(clock):
    seen = []

    def step(batch):
        seen.append(batch.item())
        clock.sleep(1)

    feed(
        DataLoader(range(100), batch_size=1, num_workers=1, persistent_workers=True),
        step,
        seconds=3,
        warmup=2,
    )
    assert seen == list(range(5))
    assert not multiprocessing.active_children()


def test_each_worker_makes_the_same_number_of_measured_batches(clock):
    seen = []

    def step(batch):
        seen.append(batch)
        clock.sleep(1)

    feeding = feed(count(), step, seconds=10, warmup=5, period=4)
    assert feeding.steps == 12, "the first multiple of the period that takes 10 seconds"
    assert seen == list(range(5 + feeding.steps)), "the warm-up's batches do not count"


def test_an_accelerator_is_waited_for_before_and_after_alone(clock, monkeypatch):
    """A stream without a GPU: a step is handed over in 1 s and computed in the 2 s after that."""
    calls = []
    finished = 0.0

    def wait(device):
        calls.append("wait")
        clock.sleep(max(0.0, finished - clock.now))

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            assert stream == "stream of cuda:1"
            self.at = max(finished, clock.now)

        def elapsed_time(self, end):
            assert calls[-1] == "wait", "events are read when all of them have passed"
            return 1000 * (end.at - self.at)

    def step(batch):
        nonlocal finished
        calls.append("step")
        clock.sleep(1)
        finished = max(finished, clock.now) + 2

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    feeding = feed(repeat(None), step, seconds=10, warmup=1, device="cuda:1")
    assert calls == ["step", "wait", *["step"] * feeding.steps, "wait"]
    assert feeding.steps == 10
    assert feeding.busy == 1
    # The device works on after the last step has been handed over.
    assert feeding.seconds == 1 + 10 * 2
