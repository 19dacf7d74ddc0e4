"""Every evaluation takes the files that the authors of DINOv2 and DINOv3 released."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_tools
import tiny_weights
import torch
from PIL import Image
from tiny_vit import picture

from mmdino.weights.layouts import authors_vit

NETWORKS = {**tiny_weights.DINOV2, **tiny_weights.DINOV3}
SIZES = ("--size", "32", "--crop", "32", "--num-heads", "2", "--workers", "0")
CLASSES = {"bright": 0, "dark": 150}


@pytest.fixture(scope="module", params=NETWORKS)
def checkpoint(request, tmp_path_factory):
    """A file of the backbone alone, as it is downloaded."""
    path = tmp_path_factory.mktemp(request.param) / f"{request.param}.pth"
    backbone = tiny_weights.vit(**NETWORKS[request.param])
    torch.save(authors_vit.from_mmdino(backbone.state_dict()), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight bright and eight dark images to learn from, two of each to test on."""
    root = tmp_path_factory.mktemp("images")
    for split, number in (("train", 8), ("test", 2)):
        for name, less in CLASSES.items():
            (root / split / name).mkdir(parents=True)
            for index in range(number):
                image = picture(index, 32, 32).clip(less, 255) - less
                Image.fromarray(image).save(root / split / name / f"{index}.png")
    return root


def run(tool, *arguments):
    tiny_tools.main_of(tool)([str(argument) for argument in arguments])


def test_neighbours_and_logistic_regression(checkpoint, images, tmp_path, capsys):
    banks = tmp_path / "train", tmp_path / "test"
    folders = ("--checkpoint", checkpoint, "--train", images / "train", "--test", images / "test")
    run("knn.py", *banks, *folders, "--k", 3, *SIZES)
    assert "16 images of 2 classes to learn from, 4 to test on" in capsys.readouterr().out
    run("logistic_regression.py", *banks, "--c", 1)
    assert "C 1 (given): top-1" in capsys.readouterr().out


def test_attention_and_principal_components(checkpoint, images, tmp_path):
    image = images / "train" / "bright" / "0.png"
    for tool, name in (("visualize_attention.py", "attention"), ("pca.py", "pca")):
        run(tool, checkpoint, image, "--out", tmp_path / name, "--num-heads", 2)
        assert (tmp_path / name / f"0_{name}.png").is_file()


def test_masks_of_the_attention(checkpoint, capsys):
    run("attention_jaccard.py", checkpoint, "--drawn", 2, "--num-heads", 2)
    assert "2 images with 2 objects" in capsys.readouterr().out


def test_diagnostics(checkpoint, images, tmp_path):
    sizes = ("--size", 32, 32, "--num-heads", 2)
    run("diagnose.py", checkpoint, images / "test", "--out", tmp_path, *sizes)
    found = json.loads((tmp_path / "diagnose.json").read_text())["networks"]
    assert [np.shape(one["attention"]["distance"]) for one in found.values()] == [(2, 2)]
