"""Feature banks from the command line, and what is measured from them."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_run
import torch
from mmengine.registry import MODELS

from mmdino.evaluation.feature_bank import open_bank
from mmdino.evaluation.knn import knn_accuracy

TOOLS = Path(__file__).parents[2] / "tools"
SIZES = ("--size", "32", "--crop", "32", "--num-heads", "2", "--workers", "0")


def run(tool, *arguments):
    """Runs a tool as the command line does."""
    runpy.run_path(str(TOOLS / tool))["main"]([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Train and test images of three classes that differ in colour."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split, number in (("train", 12), ("test", 5)):
        for name, color in (
            ("blue", (200, 60, 60)),
            ("green", (60, 200, 60)),
            ("red", (0, 0, 250)),
        ):
            (root / split / name).mkdir(parents=True)
            for index in range(number):
                image = np.array(color) + rng.normal(0, 40, (32, 32, 3))
                path = root / split / name / f"{index}.png"
                assert cv2.imwrite(str(path), image.clip(0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a tiny DINO."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "epoch_1.pth"
    torch.save({"state_dict": MODELS.build(tiny_run.vit_model()).state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def banks(tmp_path_factory, images, checkpoint):
    """A bank of the train and one of the test images."""
    root = tmp_path_factory.mktemp("banks")
    for split in ("train", "test"):
        run("extract_features.py", checkpoint, images / split, root / split, *SIZES)
    return root / "train", root / "test"


def test_knn_prints_what_it_measured_and_how(banks, capsys):
    run("knn.py", *banks, "--k", 1, 5, 100)
    printed = capsys.readouterr().out
    train, test = map(open_bank, banks)
    expected = knn_accuracy(
        torch.from_numpy(test[:].copy()),
        torch.from_numpy(test.labels),
        train,
        torch.from_numpy(train.labels),
        (1, 5, 100),
    )
    assert "epoch_1.pth, teacher (sha256 " in printed
    assert "36 images of 3 classes to learn from, 15 to test on" in printed
    assert "temperature 0.07" in printed
    assert f"  k 5: top-1 {expected[5][0]:.2f} %, top-5 {expected[5][1]:.2f} %" in printed
    assert "  k 100 (lowered to 36): top-1" in printed
    assert expected[5][0] > 60


def test_one_command_makes_the_banks_and_the_next_one_uses_them(
    tmp_path, images, checkpoint, capsys
):
    command = [
        *(tmp_path / "train", tmp_path / "test", "--checkpoint", checkpoint),
        *("--train", images / "train", "--test", images / "test", *SIZES),
    ]
    run("knn.py", *command)
    first = capsys.readouterr().out
    assert "computing the features of 36 images" in first
    assert "36/36 images" in first
    run("knn.py", *command)
    second = capsys.readouterr().out
    assert "the features of 36 images are there already" in second
    assert second.splitlines()[-4:] == first.splitlines()[-4:]


def test_interrupted_extraction_says_how_to_go_on(
    tmp_path, images, checkpoint, monkeypatch, capsys
):
    command = (checkpoint, images / "train", tmp_path / "bank", *SIZES)
    with monkeypatch.context() as patch:
        patch.setattr("mmdino.evaluation.bank_extraction.BankWriter.write_part", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("extract_features.py", *command)
    with pytest.raises(ValueError, match="not finished") as error:
        run("knn.py", tmp_path / "bank", tmp_path / "bank")
    line = " ".join(map(str, command))
    assert f"python tools/extract_features.py {line}" in str(error.value)
    run("extract_features.py", *command)
    assert "36 features of 12 numbers, 3 classes, teacher of epoch_1.pth" in capsys.readouterr().out


def interrupt(*_):
    raise KeyboardInterrupt


def test_fraction_takes_the_same_of_each_class(tmp_path, images, checkpoint):
    command = (checkpoint, images / "train", tmp_path / "bank", *SIZES, "--fraction", 0.25)
    run("extract_features.py", *command)
    bank = open_bank(tmp_path / "bank")
    assert np.bincount(bank.labels).tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match=r"files_sha256.*--overwrite"):
        run("extract_features.py", *command, "--fraction-seed", 1)
    run("extract_features.py", *command, "--fraction-seed", 1, "--overwrite", "--dtype", "float16")
    assert open_bank(tmp_path / "bank")[:].dtype == np.float16


def test_logistic_regression_reports_every_draw_and_their_mean(banks, capsys):
    run("logistic_regression.py", *banks, "--fraction", 0.25, "--fraction-seed", 0, 1)
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0] == "logistic regression on 0.25 of the labels of each class"
    assert "seed 0: 9 labelled images, C " in lines[1]
    assert "(3-fold cross-validation of 9 labelled images): top-1" in lines[2]
    top1 = [float(line.split("top-1 ")[1].split()[0]) for line in lines[1:]]
    assert top1[2] == pytest.approx(np.mean(top1[:2]), abs=0.01)
    assert "standard deviation" in lines[3]
    assert min(top1) > 45
    run("logistic_regression.py", *banks, "--c", 1)
    lines = capsys.readouterr().out.splitlines()
    assert "seed 0: 36 labelled images, C 1 (given): top-1" in lines[-1]


def test_untrained_network_is_not_mistaken_for_the_trained(tmp_path, images, checkpoint, banks):
    untrained = (*SIZES, "--untrained", 0)
    run("extract_features.py", checkpoint, images / "test", tmp_path / "bank", *untrained)
    with pytest.raises(ValueError, match=r"'teacher' the first, 'untrained \(seed 0\)' the second"):
        run("knn.py", banks[0], tmp_path / "bank")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--k", 0), r"invalid k=\[0\] of k-NN"),
        (("--temperature", 0), "invalid temperature=0.0 of k-NN"),
        (("--temperature", "inf"), "invalid temperature=inf of k-NN"),
        (("--train", "images"), "--checkpoint, --train and --test make the two banks together"),
    ],
)
def test_wrong_options_are_explained(banks, options, message):
    with pytest.raises(ValueError, match=message):
        run("knn.py", *banks, *options)


def test_a_missing_checkpoint_or_folder_is_named(tmp_path, checkpoint):
    with pytest.raises(FileNotFoundError, match=r"no_such\.pth"):
        run("extract_features.py", "no_such.pth", tmp_path, tmp_path / "bank")
    with pytest.raises(FileNotFoundError, match="The images 'nowhere' do not exist"):
        run("extract_features.py", checkpoint, "nowhere", tmp_path / "bank", *SIZES)
