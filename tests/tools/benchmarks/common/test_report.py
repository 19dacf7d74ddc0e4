"""Measurements become tables, files and figures."""

from __future__ import annotations

import json

import pytest
import torch

from common import report
from common.report import draw_bars, draw_lines, print_table, timing_rows, write_json
from common.timing import Timing


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


def test_own_line_has_one_colour_and_two_points_are_not_joined(monkeypatch):
    figures = []
    monkeypatch.setattr(report, "_save", lambda figure, path: figures.append(figure))
    two, three = [(1, 2), (2, 4)], [(1, 2), (2, 4), (4, 8)]
    draw_lines("a.png", {"mmdino": two, "Pillow": two}, "workers", "images/s")
    draw_lines("b.png", {"plain step": three, "ours": three}, "batch", "images/s")
    (first, other), (plain, second) = (figure.axes[0].lines for figure in figures)
    assert first.get_color() == second.get_color()
    assert other.get_color() == plain.get_color() != first.get_color()
    assert [line.get_linestyle() for line in (first, second)] == ["None", "-"]


def test_figures_are_drawn(tmp_path):
    draw_lines(tmp_path / "lines.png", {"ours": [(1, 2), (2, 4)]}, "workers", "images/s")
    limits = {"a level": [(1, 5)], "a line": [(1, 4), (2, 5)]}
    draw_lines(tmp_path / "limits.png", {"ours": [(1, 2), (2, 4)]}, "x", "y", limits=limits)
    draw_bars(tmp_path / "bars.png", timing_rows({"ours": Timing([1.0, 2.0])}, "ours"))
    for name in ("lines.png", "limits.png", "bars.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
