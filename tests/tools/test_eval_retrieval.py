"""The command line evaluates retrieval on a set in the layout of Oxford and Paris."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_evaluations
import tiny_tools
from tiny_vit import HEADS, save_checkpoint, save_resnet

from mmdino.evaluation import bank_extraction

OPTIONS = ("--workers", 0)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The checkpoint and the folder of the data."""
    root = tmp_path_factory.mktemp("retrieval")
    return save_checkpoint(root / "vit.pth"), tiny_evaluations.write_revisited(root / "data")


def run(out, places, *arguments):
    """Evaluates and returns the results."""
    command = [*places, "--out", out, *OPTIONS, *arguments]
    tiny_tools.main_of("eval_retrieval.py")([*map(str, command)])
    return json.loads((out / "results.json").read_text())


def test_near_copies_are_found_and_a_second_run_computes_nothing(
    tmp_path, places, capsys, monkeypatch
):
    results = run(tmp_path, places, *HEADS)
    assert "medium: mAP" in capsys.readouterr().out
    assert results["easy"]["queries"] == 1
    assert results["easy"]["average_precision"] == {
        "all_souls_000013_query": 100.0,
        "keble_000245": None,
    }
    assert results["hard"]["queries"] == results["medium"]["queries"] == 2
    assert results["medium"]["mean_precision_at_k"].keys() == {"1", "5", "10"}
    assert (results["size"], results["scales"]) == (224, [1.0])
    monkeypatch.setattr(bank_extraction, "extract_features", None)
    assert run(tmp_path, places, *HEADS) == results


def test_other_options_are_not_mixed_with_these(tmp_path, places):
    whole = run(tmp_path, places, *HEADS)
    with pytest.raises(ValueError, match="made with other settings: size is 224 there, 32 now"):
        run(tmp_path, places, *HEADS, "--size", 32)
    small = run(tmp_path, places, *HEADS, "--size", 32, "--multi-scale", "--overwrite")
    assert len(small["scales"]) == 3
    assert small["size"] != whole["size"]


def test_queries_may_be_cropped(tmp_path, places):
    run(tmp_path / "whole", places, *HEADS)
    run(tmp_path / "cropped", places, *HEADS, "--crop-queries")
    files = ("database", "queries")
    whole, cropped = (
        [np.load(tmp_path / kind / "features" / name / "features.npy") for name in files]
        for kind in ("whole", "cropped")
    )
    np.testing.assert_array_equal(whole[0], cropped[0])
    assert (whole[1] != cropped[1]).any(axis=1).all()


def test_a_resnet_has_its_mean_map(tmp_path, places):
    checkpoint = save_resnet(tmp_path / "resnet.pth")
    results = run(tmp_path, (checkpoint, places[1]), "--ks", 1)
    assert results["medium"]["mean_precision_at_k"].keys() == {"1"}
