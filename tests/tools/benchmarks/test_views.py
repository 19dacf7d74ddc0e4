"""The comparison of views with the paper's chain prints and writes its tables."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).parents[3] / "tools" / "benchmarks" / "views.py"
tool = runpy.run_path(str(TOOL))
main = tool["main"]


def test_smoke_run_compares_both_ways_to_change_colours(tmp_path, capsys):
    kinds = ["16 bits", "shapes"]
    sizes = ["--global-size", "32", "--local-size", "16"]
    main(["--smoke", "--json", str(tmp_path / "views.json"), *sizes, "--pictures", *kinds])
    tables = json.loads((tmp_path / "views.json").read_text())["tables"]
    assert len(tables["resize"]) == 3
    for row in tables["resize"]:
        assert 0 < row["mean difference"] <= row["largest for a crop"] < 1
        assert row["reached"] == "yes"
    assert [row["pictures"] for row in tables["same choices"][::3]] == kinds
    for row in tables["same choices"]:
        assert 0 < row["mean difference"] <= row["largest for a view"]
        assert row["reached"] == ("yes" if row["mean difference"] <= 1 else "no")
    assert [row["colours"] for row in tables["colour"]] == ["fused", "sequential"] * 6
    assert [row["pictures"] for row in tables["colour"][::6]] == kinds
    assert all(0 < row["largest"] < 20 for row in tables["colour"])
    assert "32 x 32, blur 0.1, solarize 0.2" in capsys.readouterr().out


def test_pictures_are_made_of_photographs():
    photo = np.random.default_rng(0).integers(90, 160, (12, 16, 3), dtype=np.uint8)
    made = {kind: tool["pictures_of"](kind, [photo] * 2)[1] for kind in [*tool["PICTURES"]]}
    np.testing.assert_array_equal(made["photographs"], photo)
    np.testing.assert_array_equal(made["16 bits"] // 257, photo)
    assert np.ptp(made["grey"], axis=2).max() == 0
    assert np.ptp(made["vivid"], axis=2).mean() > 2 * np.ptp(photo, axis=2).mean()
    np.testing.assert_allclose(made["vivid"].max(axis=2), photo.max(axis=2), atol=1)


def test_mistakes_are_told(tmp_path):
    with pytest.raises(ValueError, match="invalid --count 3 or --views 2"):
        main(["--count", "3", "--views", "2"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        main(["--images", str(tmp_path / "none")])
