"""What is shown while runs train: lines in a file, bars on a terminal."""

from __future__ import annotations

import io

import pytest
import tiny_comparison

from mmdino.comparison import progress as module
from mmdino.comparison.progress import Progress, clock, place_of


class Terminal(io.StringIO):
    def isatty(self):
        return True


def two_runs(tmp_path):
    long = {"epochs": 10, "iterations_per_epoch": 100, "images_per_epoch": 400}
    return [tiny_comparison.run(tmp_path, name=name, **long) for name in ("dino", "byol")]


def test_a_file_gets_lines_and_now_and_then_how_far_all_is(tmp_path, monkeypatch):
    first, second = two_runs(tmp_path)
    shown = io.StringIO()
    with Progress([first, second], [first], shown) as progress:
        progress.started(second, 200)
        progress.trained(second, 250)
        monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", -1.0)
        progress.trained(second, 350)
        progress.finished(second, 3725)
    assert shown.getvalue().splitlines() == [
        "[1 of 2 runs done] byol, seed 0: resumes from iteration 200 of 1,000 iterations",
        "[1 of 2 runs done, 68%] byol, seed 0: epoch 4/10, iteration 350/1,000",
        "[2 of 2 runs done] byol, seed 0: trained in 1:02:05",
    ]


def test_a_terminal_gets_bars_of_all_runs_and_of_the_present_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    first, second = two_runs(tmp_path)
    shown = Terminal()
    with Progress([first, second], [], shown) as progress:
        progress.started(first, 0)
        progress.trained(first, 350)
        progress._bars.refresh()
        progress.finished(first, 60)
    text = shown.getvalue()
    assert "0 of 2 runs done" in text
    assert "epoch 4/10, iteration 350/1,000" in text
    assert "1 of 2 runs done" in text.rpartition("trained in 0:01:00")[2]


def test_a_log_of_the_start_before_takes_nothing_back(tmp_path):
    first, _ = two_runs(tmp_path)
    shown = Terminal()
    progress = Progress([first], [], shown)
    progress.started(first, 500)
    progress.trained(first, 20)
    assert progress._done[str(first)] == 500


@pytest.mark.parametrize(
    ("iteration", "place"),
    [
        (0, "epoch 1/10, iteration 0/1,000"),
        (100, "epoch 2/10, iteration 100/1,000"),
        (1000, "epoch 10/10, iteration 1,000/1,000"),
    ],
)
def test_places(tmp_path, iteration, place):
    assert place_of(two_runs(tmp_path)[0], iteration) == place


def test_clock():
    assert [clock(s) for s in (0.4, 61, 36000)] == ["0:00:00", "0:01:01", "10:00:00"]
