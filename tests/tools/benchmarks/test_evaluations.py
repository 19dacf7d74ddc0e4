"""The benchmark of the last evaluations makes its sets and runs on tiny sizes."""

from __future__ import annotations

import importlib.util
import json
from itertools import pairwise
from pathlib import Path

import pytest
import tiny_evaluations
from PIL import Image
from tiny_vit import picture, save_checkpoint

from common.made_sets import moving_crops

FILE = Path(__file__).parents[3] / "tools" / "benchmarks" / "evaluations.py"


def load():
    spec = importlib.util.spec_from_file_location("benchmark_evaluations", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photographs(tmp_path):
    """Four photographs of one object each."""
    paths = [tmp_path / "photographs" / f"{seed}.jpg" for seed in range(4)]
    return [tiny_evaluations.save(path, picture(seed)) for seed, path in enumerate(paths)]


def test_it_compares_a_network_with_none(tmp_path, photographs):
    path = tmp_path / "figures.json"
    checkpoint = save_checkpoint(tmp_path / "vit.pth")
    options = ["--smoke", "--num-heads", "2", "--json", str(path), "--out", str(tmp_path / "out")]
    figure = tmp_path / "masks.png"
    load().main([str(checkpoint), str(photographs[0].parent), *options, "--figure", str(figure)])
    assert Image.open(figure).width > 500
    rows = json.loads(path.read_text())["tables"]["evaluations"]
    assert [row["network"] for row in rows] == ["trained", "untrained", "none"]
    for row in rows:
        assert row.keys() == rows[0].keys() >= {"medium", "hard", "strong", "crops/10", "J", "F"}
        assert all(0 <= value <= 100 for name, value in row.items() if name != "network")
    # The same photograph at another quality has nearly the same pixels.
    assert rows[2]["jpegqual/50"] == 100
    with pytest.raises(ValueError, match="is not empty: give a new folder"):
        load().main([str(checkpoint), str(photographs[0].parent), *options])


def test_crops_move_with_their_masks(photographs):
    frames, labels = zip(*moving_crops(photographs[:3], 4, seed=0), strict=True)
    assert all(frame.shape == (192, 256, 3) for frame in frames)
    assert all(set(of_frame.flat) == {0, 1, 2} for of_frame in labels)
    for label in (1, 2):
        areas = {(of_frame == label).sum() for of_frame in labels}
        assert min(areas) > 3000
        assert any((first != last).any() for first, last in pairwise(labels))
