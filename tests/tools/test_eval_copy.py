"""The command line evaluates copy detection on Copydays, and on lists like DISC21's."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_evaluations
import tiny_tools
from tiny_vit import HEADS, picture, save_checkpoint, save_resnet

OPTIONS = ("--size", 32, "--workers", 0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the sets and a checkpoint."""
    root = tmp_path_factory.mktemp("copies")
    save_checkpoint(root / "vit.pth")
    tiny_evaluations.write_copydays(root)
    return tiny_evaluations.write_lists(root)


def run(out, checkpoint, *arguments):
    """Evaluates and returns the results."""
    command = [checkpoint, "--out", out, *OPTIONS, *arguments]
    tiny_tools.main_of("eval_copy.py")([*map(str, command)])
    return json.loads((out / "results.json").read_text())


def copydays(root, *more):
    return "--copydays", root / "copydays", *more


def test_copies_are_found_among_distractors(tmp_path, root, capsys):
    others = ("--distractors", root / "others", "--whitening", root / "others")
    results = run(tmp_path, root / "vit.pth", *HEADS, *copydays(root, *others))
    assert (results["originals"], results["distractors"]) == (3, 4)
    assert results["whitening_images"] == 4
    assert results["blocks"].keys() == {"strong", "crops/10"}
    assert all(block["queries"] == 3 for block in results["blocks"].values())
    output = capsys.readouterr().out
    assert "learnt from 4 images only" in output
    assert f"crops/10: mAP {results['blocks']['crops/10']['map']:.1f} (3 queries)" in output
    # The features are kept: nothing is read again.
    again = run(tmp_path, root / "vit.pth", *HEADS, *copydays(root, *others))
    assert again == results
    assert "the features of 4 images are there already" in capsys.readouterr().out


def test_features_of_replaced_images_are_not_taken_over(tmp_path, root):
    shutil.copytree(root / "copydays", tmp_path / "copydays")
    command = (tmp_path / "out", root / "vit.pth", *HEADS, *copydays(tmp_path))
    run(*command)
    features = tmp_path / "out" / "features" / "strong" / "features.npy"
    before = np.load(features)
    for path in (tmp_path / "copydays" / "strong").iterdir():
        tiny_evaluations.save(path, picture(20))
    with pytest.raises(ValueError, match=r"made with other settings: files_sha256.*--overwrite"):
        run(*command)
    run(*command, "--overwrite")
    assert (np.load(features) != before).any(axis=1).all()


def test_an_exact_copy_is_the_nearest(tmp_path, root):
    originals = copydays(root, "--blocks", "original", "--distractors", root / "others")
    found = run(tmp_path, root / "vit.pth", *HEADS, *originals, "--max-distractors", 2)
    assert found["blocks"] == {"original": {"queries": 3, "map": 100.0}}
    assert found["distractors"] == 2


def lists(root, pairs="pairs.csv"):
    return (
        *("--queries", root / "queries", "--references", root / "references"),
        *("--ground-truth", root / pairs),
    )


def test_all_pairs_are_in_one_ranking(tmp_path, root):
    found = run(tmp_path, root / "vit.pth", *HEADS, *lists(root))
    assert 0 < found["micro_ap"] <= 100
    assert (found["queries"], found["references"], found["copies"]) == (3, 4, 2)
    assert found["neighbours"] == 4
    copies = tmp_path / "copies"
    shutil.copytree(root / "references", copies / "references")
    for number in range(2):
        tiny_evaluations.save(copies / "queries" / f"Q{number:05}.jpg", picture(number))
    (copies / "pairs.csv").write_text("query_id,reference_id\nQ00000,R000000\nQ00001,R000001\n")
    exact = run(tmp_path / "out", root / "vit.pth", *HEADS, *lists(copies))
    assert exact["micro_ap"] == 100


def test_a_resnet_has_its_map_in_place_of_tokens(tmp_path, root):
    checkpoint = save_resnet(tmp_path / "resnet.pth")
    found = run(tmp_path, checkpoint, *copydays(root, "--blocks", "crops/10"))
    assert found["blocks"]["crops/10"]["map"] > 30
