"""The comparison of views with the paper's chain prints and writes its tables."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "benchmarks" / "views.py"
main = runpy.run_path(str(TOOL))["main"]


def test_smoke_run_compares_both_ways_to_change_colours(tmp_path, capsys):
    main(["--smoke", "--json", str(tmp_path / "views.json")])
    tables = json.loads((tmp_path / "views.json").read_text())["tables"]
    assert len(tables["resize"]) == 3
    for row in tables["resize"]:
        assert 0 < row["mean difference"] <= row["largest for a crop"] < 1
        assert row["reached"] == "yes"
    assert [row["colours"] for row in tables["colour"]] == ["fused", "sequential"] * 3
    assert all(0 < row["largest"] < 20 for row in tables["colour"])
    assert "224 x 224, blur 0.1, solarize 0.2" in capsys.readouterr().out


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ValueError, match="invalid --count 3 or --views 2"):
        main(["--count", "3", "--views", "2"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        main(["--images", str(tmp_path / "none")])
