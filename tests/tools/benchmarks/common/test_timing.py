"""Cases are timed side by side, and their peak memory is counted."""

from __future__ import annotations

import pytest
import torch

from common.timing import Timing, compare, peak_bytes


def test_rounds_alternate_and_each_begins_with_another_case():
    calls = []
    cases = {name: lambda name=name: calls.append(name) for name in "abc"}
    timings = compare(cases, rounds=3, warmup=1)
    assert list(timings) == ["a", "b", "c"]
    assert all(len(timing.seconds) == 3 for timing in timings.values())
    rounds = ["".join(calls[start : start + 3]) for start in range(0, 12, 3)]
    assert rounds[1:] == ["abc", "bca", "cab"]
    assert sorted(rounds[0]) == ["a", "b", "c"], "the warm-up runs all of them too"


def test_a_slower_case_is_seen_as_slower(clock):
    cases = {"short": lambda: clock.sleep(1), "long": lambda: clock.sleep(20)}
    timings = compare(cases, rounds=3)
    assert timings["long"].seconds == [20] * 3
    assert timings["long"].ratio_to(timings["short"]) == 20


def test_seconds_are_those_of_the_clock_given():
    ticks = iter(range(100))
    timings = compare({"case": lambda: next(ticks)}, rounds=2, clock=lambda: next(ticks))
    assert timings["case"].seconds == [2, 2]


def test_a_machine_that_slows_down_does_not_move_the_ratio():
    base, ours = Timing([1.0, 1.0, 4.0, 4.0, 4.0]), Timing([0.5, 0.5, 0.5, 2.0, 2.0])
    assert ours.ratio_to(base) == 0.5
    assert (base.median, base.fastest, base.slowest) == (4.0, 1.0, 4.0)


@pytest.mark.parametrize("options", [{"rounds": 0}, {"warmup": -1}])
def test_comparing_nothing_is_refused(options):
    with pytest.raises(ValueError, match="at least one"):
        compare({"case": lambda: None}, **options)
    with pytest.raises(ValueError, match="0 case"):
        compare({})


def test_peak_is_the_largest_sum_and_not_the_sum_of_all():
    size = 1_000_000

    def case():
        for _ in range(3):
            first = torch.ones(size)
            second = first + 1
            del first, second

    assert peak_bytes(case) == pytest.approx(2 * 4 * size, rel=0.01)


def test_peak_counts_the_backward_pass():
    x = torch.ones(1_000_000, requires_grad=True)
    # Outputs of exp are kept for the backward pass.
    assert peak_bytes(lambda: x.exp().exp().sum().backward()) >= 2 * 4 * 1_000_000
