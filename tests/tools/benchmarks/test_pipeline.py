"""The benchmark of the pipeline measures, writes and draws."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "benchmarks" / "pipeline.py"
tool = runpy.run_path(str(TOOL))
main = tool["main"]


def test_smoke_run_writes_figures_with_targets(tmp_path, capsys):
    file, figure = tmp_path / "pipeline.json", tmp_path / "pipeline.png"
    arguments = ["--smoke", "--workers", "1", "--json", str(file), "--figure", str(figure)]
    main(arguments)
    tables = json.loads(file.read_text())["tables"]
    cases = {row["case"]: row for row in tables["images"]}
    assert cases["Pillow + torchvision"]["x baseline"] == 1
    assert cases["decode + antialiased resize"]["x limit"] == 1
    assert all(row["images/s"] > 0 for row in cases.values())
    assert tables["targets"][0]["target"] == 6
    assert tables["workers"][0]["mmdino"] > 0
    assert figure.stat().st_size > 0
    assert "Speed compared" in capsys.readouterr().out


def test_a_figure_without_workers_has_the_times(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setitem(main.__globals__, "draw_bars", lambda path, rows, _: drawn.extend(rows))
    main(["--smoke", "--figure", str(tmp_path / "times.png")])
    assert "mmdino" in [row["case"] for row in drawn]


def test_mistakes_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        main(["--images", str(tmp_path / "none")])
    with pytest.raises(ValueError, match="--count 0"):
        main(["--count", "0"])
