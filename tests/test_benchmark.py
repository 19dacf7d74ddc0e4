"""What the benchmarks share."""

from __future__ import annotations

import json
import time

import pytest
import torch

from mmdino.benchmark import (
    Timing,
    benchmark_parser,
    compare,
    draw_bars,
    draw_lines,
    peak_bytes,
    print_table,
    timing_rows,
    use_threads,
    write_json,
)


def test_rounds_alternate_and_each_begins_with_another_case():
    calls = []
    cases = {name: lambda name=name: calls.append(name) for name in "abc"}
    timings = compare(cases, rounds=3, warmup=1)
    assert list(timings) == ["a", "b", "c"]
    assert all(len(timing.seconds) == 3 for timing in timings.values())
    rounds = ["".join(calls[start : start + 3]) for start in range(0, 12, 3)]
    assert rounds[1:] == ["abc", "bca", "cab"]
    assert sorted(rounds[0]) == ["a", "b", "c"], "the warm-up runs all of them too"


def test_a_slower_case_is_seen_as_slower():
    timings = compare(
        {"short": lambda: time.sleep(0.001), "long": lambda: time.sleep(0.02)}, rounds=3
    )
    assert timings["long"].ratio_to(timings["short"]) > 2


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


def test_rows_have_ratios_to_baseline_and_limit(capsys):
    timings = {"plain": Timing([2.0, 2.0]), "ours": Timing([1.0, 1.0]), "limit": Timing([0.5, 0.5])}
    rows = timing_rows(timings, "plain", "limit", images=8)
    assert [row["x baseline"] for row in rows] == [1, 0.5, 0.25]
    assert [row["x limit"] for row in rows] == [4, 2, 1]
    assert [row["images/s"] for row in rows] == [4, 8, 16]
    print_table(rows, "A title")
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "A title"
    assert len({len(line) for line in lines[2:]}) == 1, "columns are aligned"
    assert lines[4].startswith("| plain")


def test_file_says_what_was_measured_where(tmp_path):
    path = tmp_path / "deep" / "figures.json"
    write_json(path, "loss", {"batch": 8}, {"table": [{"case": "ours"}]}, ["--batch", "8"])
    content = json.loads(path.read_text())
    assert content["command"] == "python tools/benchmarks/loss.py --batch 8"
    assert content["tables"] == {"table": [{"case": "ours"}]}
    assert content["machine"]["threads"] == torch.get_num_threads()
    assert [entry.name for entry in path.parent.iterdir()] == ["figures.json"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_json(path, "loss", {"batch": object()}, {})
    assert path.read_text() == "old"


def test_figures_are_drawn(tmp_path):
    draw_lines(tmp_path / "lines.png", {"ours": [(1, 2), (2, 4)]}, "workers", "images/s")
    draw_bars(tmp_path / "bars.png", timing_rows({"ours": Timing([1.0, 2.0])}, "ours"))
    for name in ("lines.png", "bars.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_options_all_benchmarks_have():
    args = benchmark_parser("text", rounds=7).parse_args(["--smoke", "--json", "a.json"])
    assert (args.rounds, args.device, args.smoke, args.json) == (7, "cpu", True, "a.json")
    assert args.threads is None


def test_threads_must_be_positive():
    with pytest.raises(ValueError, match="--threads 0"):
        use_threads(0)
