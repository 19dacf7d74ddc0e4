"""The benchmark of curation runs on tiny sizes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).parents[3] / "tools" / "benchmarks" / "curate.py"


def load():
    spec = importlib.util.spec_from_file_location("benchmark_curate", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("search", "dtype"), [("exact", "float32"), ("approximate", "float32"), ("exact", "float16")]
)
def test_it_reports_time_memory_and_recall(tmp_path, search, dtype):
    path = tmp_path / "figures.json"
    options = ["--search", search, "--dtype", dtype, "--folder", str(tmp_path)]
    load().main(["--smoke", *options, "--json", str(path)])
    tables = json.loads(path.read_text())["tables"]
    assert len(tables["curation"]) == 4
    for row in tables["curation"]:
        assert row["seconds"] > 0
        assert row["peak GiB"] > 0.1
    (found,) = tables["found"]
    assert found["search"] == search
    assert found["planted copies"] == 200
    assert found["of them joined with their original"] > 0.97
    assert found["recall of those above the threshold"] > 0.97
    assert list(tmp_path.iterdir()) == [path]
