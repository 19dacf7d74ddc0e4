"""The benchmark of training from files on measures, writes and draws."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

import pytest
import torch

from common.feeding import Feeding
from common.view_chains import OURS, PILLOW, chains
from common.view_loader import draw_photographs

FILE = Path(__file__).parents[3] / "tools" / "benchmarks" / "end_to_end.py"
CASES = [OURS, PILLOW, "step alone", f"views alone, {OURS}", f"views alone, {PILLOW}"]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("benchmark_end_to_end", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_smoke_run_writes_and_draws_what_it_prints(tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tool, "SMOKE", {**tool.SMOKE, "rounds": 1, "workers": [2, 1]})
    files = [tmp_path / "figures.json", tmp_path / "figure.png"]
    tool.main(["--smoke", "--json", str(files[0]), "--figure", str(files[1])])
    content = json.loads(files[0].read_text())
    assert content["command"].startswith("python tools/benchmarks/end_to_end.py --smoke")
    assert content["settings"]["photographs"] == 4
    assert list(content["tables"]) == ["batch 2, 1 worker(s)", "batch 2, 2 worker(s)"]
    printed = capsys.readouterr().out
    assert "at least 3 x Pillow + torchvision with the same step, busy above 0.9" in printed
    for rows in content["tables"].values():
        assert [row["case"] for row in rows] == CASES
        assert rows[1]["x baseline"] == 1
        for row in rows:
            assert 0 < row["min"] <= row["images/s"] <= row["max"]
            assert row["x baseline"] > 0
            assert printed.count(f"| {row['case']} ") == 2
            fractions = [row[name] for name in ("busy", "waiting") if row[name] is not None]
            assert all(0 <= fraction <= 1 for fraction in fractions)
        for row in rows[:2]:
            assert row["x limit"] > 0
            assert 0 < row["busy"] + row["waiting"] <= 1
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_ratios_are_of_images_a_second(tool):
    """Ours trains 40 of the 50 images/s that its loader gives, the other chain all of its 10."""
    seconds = dict(zip(CASES, (0.2, 0.8, 0.1, 0.16, 0.8), strict=True))
    runs = {case: [Feeding(1, value, 0.5, 0.25)] * 2 for case, value in seconds.items()}
    rows = tool.table(runs, batch=8)
    assert [row["images/s"] for row in rows] == pytest.approx([40, 10, 80, 50, 10])
    assert [row["x baseline"] for row in rows] == pytest.approx([4, 1, 8, 5, 1])
    assert [row["x limit"] for row in rows[:2]] == pytest.approx([0.8, 1])
    assert [row["busy"] for row in rows] == [0.5, 0.5, 0.5, None, None]
    assert [row["waiting"] for row in rows] == [0.25, 0.25, None, None, None]


def test_both_chains_train_the_same_network_and_none_is_normalised_twice(tool, tmp_path):
    args = tool.parser().parse_args([])
    vars(args).update(tool.SMOKE)
    ours, papers = (tool.build(args, chain) for chain in (OURS, PILLOW))
    torch.testing.assert_close(ours.state_dict(), papers.state_dict(), rtol=0, atol=0)

    draw_photographs(tmp_path)
    views = {}
    for name, chain in chains(tool.view_groups(args), [PILLOW, f"{PILLOW}, uint8"]).items():
        random.seed(0)
        torch.manual_seed(0)
        views[name] = [view[None] for view in chain(str(tmp_path / "0.jpg"))]
    normalised = papers.data_preprocessor({"inputs": views[PILLOW]}, training=True)["inputs"]
    torch.testing.assert_close(normalised, views[PILLOW], rtol=0, atol=0)
    # What the network sees is what it sees of our views: ours come as BGR and are not normalised.
    pixels = [view.flip(1) for view in views[f"{PILLOW}, uint8"]]
    expected = ours.data_preprocessor({"inputs": pixels}, training=True)["inputs"]
    torch.testing.assert_close(normalised, expected, rtol=0, atol=1e-5)


def test_sizes_of_views_are_those_asked_for(tool):
    args = tool.parser().parse_args(["--global-size", "64", "--local-size", "32", "--locals", "3"])
    assert [(group["num"], group["size"]) for group in tool.view_groups(args)] == [
        (1, 64),
        (1, 64),
        (3, 32),
    ]
    args = tool.parser().parse_args(["--locals", "0"])
    assert [group["size"] for group in tool.view_groups(args)] == [224, 224]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2", "0"], r"--workers \[2, 0\].*at least 1"),
        (["--batch", "0"], r"--batch \[0\].*at least 1"),
        (["--seconds", "0"], "seconds above 0"),
        (["--device", "mps"], "expected cpu or cuda"),
        (["--local-size", "256"], "must be ordered from large"),
        (["--workers", "1", "2", "--batch", "8", "16", "--figure", "a.png"], "or no --figure"),
    ],
)
def test_mistakes_are_told(tool, options, message):
    with pytest.raises(ValueError, match=message):
        tool.main(options)


def test_a_gpu_that_is_not_there_is_told(tool, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="finds no GPU"):
        tool.main(["--device", "cuda"])


def test_missing_photographs_are_told(tool, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        tool.main(["--images", str(tmp_path / "none")])
    with pytest.raises(FileNotFoundError, match="has no image"):
        tool.main(["--images", str(tmp_path)])
