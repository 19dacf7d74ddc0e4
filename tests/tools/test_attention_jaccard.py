"""The command line compares attention with object masks of VOC and of drawn images."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image
from tiny_vit import HEADS, OWN, picture, save_checkpoint, save_resnet

from mmdino.evaluation.attention import attention_maps, attention_mask
from mmdino.evaluation.image_input import IMAGENET
from mmdino.evaluation.jaccard import object_jaccards, summarise
from mmdino.weights.networks import load_backbone

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "attention_jaccard.py"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "epoch_1.pth")


@pytest.fixture(scope="module")
def own_checkpoint(tmp_path_factory):
    """Of a run with its own mean and deviation."""
    return save_checkpoint(tmp_path_factory.mktemp("own") / "epoch_1.pth", OWN)


@pytest.fixture
def voc(tmp_path):
    """Three photographs of a bright disc, the last without a mask of it."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    for index in range(3):
        image = picture(index)
        mask = Image.fromarray(np.uint8(15 * (image.min(2) > 120) * (index < 2)))
        mask.putpalette([(5 * value) % 256 for value in range(3 * 256)])
        Image.fromarray(image).save(tmp_path / "JPEGImages" / f"{index}.jpg")
        mask.save(tmp_path / "SegmentationClass" / f"{index}.png")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("0\n1\n2\n")
    return tmp_path


def run(capsys, checkpoint, *arguments):
    """Runs the tool and returns what it printed, and its table."""
    TOOL["main"]([str(checkpoint), *map(str, arguments), *HEADS])
    output = capsys.readouterr().out
    row = re.compile(r"^  (\S.*?) {2,}([\d.]+) +([\d.]+)(?: \(head \d+\))? +([\d.]+)$", re.M)
    return output, {name: tuple(map(float, values)) for name, *values in row.findall(output)}


def test_drawn_images_for_trained_and_untrained(capsys, checkpoint):
    output, table = run(capsys, checkpoint, "--drawn", 6, "--untrained", 1)
    assert "6 images with 6 objects; 0 images without an object are left out." in output
    assert "masks of 60 % of the attention" in output
    assert list(table) == [
        "trained",
        "untrained, seed 1",
        "random patches",
        "centred patches",
        "whole image",
    ]
    dataset = DATASETS.build({"type": "mmdino.DrawnShapes", "num_images": 6, "split": "test"})
    assert table["trained"] == figures_of(checkpoint, dataset, IMAGENET)
    assert table["trained"] != table["untrained, seed 1"]
    objects = np.mean([dataset.get_data_info(index)["gt_seg_map"].mean() for index in range(6)])
    assert table["whole image"][0] == pytest.approx(100 * objects, abs=0.06)


def figures_of(checkpoint, dataset, statistics):
    """The first row of the table, computed once more."""
    backbone = load_backbone(checkpoint, num_heads=2)
    expected = summarise(
        [
            object_jaccards(
                attention_mask(
                    attention_maps(backbone, info["img"][..., ::-1], statistics=statistics)
                ),
                info["gt_seg_map"],
            )
            for info in map(dataset.get_data_info, range(len(dataset)))
        ]
    )
    figures = (expected.best_head, expected.best_single_head, expected.mean_head)
    return tuple(round(figure, 1) for figure in figures)


def test_images_are_normalised_as_in_the_run(capsys, own_checkpoint):
    _, table = run(capsys, own_checkpoint, "--drawn", 6)
    dataset = DATASETS.build({"type": "mmdino.DrawnShapes", "num_images": 6, "split": "test"})
    assert table["trained"] == figures_of(own_checkpoint, dataset, OWN)
    assert table["trained"] != figures_of(own_checkpoint, dataset, IMAGENET)


def test_voc_layout_leaves_out_images_without_an_object(capsys, checkpoint, voc):
    output, table = run(capsys, checkpoint, "--voc", voc, "--fraction", 0.3)
    assert "shorter side 69" in output
    assert "2 images with 2 objects; 1 images without an object are left out." in output
    assert "masks of 30 % of the attention" in output
    assert table["trained"][0] >= table["trained"][1] >= table["trained"][2]


def test_first_images_of_voc_at_a_size(capsys, checkpoint, voc):
    output, _ = run(capsys, checkpoint, "--voc", voc, "--limit", 1, "--size", 32)
    assert "shorter side 32" in output
    assert "1 images with 1 objects" in output


def test_an_image_of_another_size_than_its_mask_is_named(capsys, checkpoint, voc):
    Image.fromarray(picture(0, 20, 20)).save(voc / "JPEGImages" / "0.jpg")
    with pytest.raises(ValueError, match=r"0\.jpg has size \(20, 20\) .*\(40, 56\)"):
        run(capsys, checkpoint, "--voc", voc)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--voc", "nowhere"], FileNotFoundError, r"val\.txt does not exist"),
        (["--drawn", "0"], ValueError, "num_images must be at least 1"),
        (
            ["--drawn", "2", "--size", "7"],
            ValueError,
            "drawn_shapes/test/000000: .* shorter side of 7",
        ),
        (["--drawn", "2", "--fraction", "0"], ValueError, "fraction=0"),
    ],
)
def test_wrong_input_is_explained(capsys, checkpoint, arguments, error, message):
    with pytest.raises(error, match=message):
        run(capsys, checkpoint, *arguments)


def test_a_resnet_has_no_attention(capsys, tmp_path):
    path = save_resnet(tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="no attention to show"):
        run(capsys, path, "--drawn", 2)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--drawn", "--voc", "x"],
        ["--voc", "x", "--limit", "0"],
        ["--drawn", "2", "--limit", "1"],
        ["--drawn", "2", "--objects", "instance"],
        ["--drawn", "2", "--split", "train"],
    ],
)
def test_options_that_do_not_go_together_are_refused(capsys, checkpoint, arguments):
    with pytest.raises(SystemExit):
        run(capsys, checkpoint, *arguments)
