"""Images without labels, some of which cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmdino.curation.pictures import KEPT, Section, Strip, Tile, draw_strips
from mmdino.curation.thumbnails import Thumbnail, thumbnails
from mmdino.evaluation.bank_images import all_images
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import read_unreadable


@pytest.fixture
def folder(tmp_path):
    init_default_scope("mmpretrain")
    for name in ("a/1.png", "2.jpg", "b/c/3.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), "orange").save(path)
    (tmp_path / "images" / "4.png").write_bytes(b"")
    return tmp_path / "images"


def test_an_unreadable_image_is_black_and_recorded(folder, tmp_path):
    record = tmp_path / "unreadable.jsonl"
    images = all_images(folder, ExtractionOptions(size=16, crop=16))
    images.unreadable = record
    assert images.names() == ["2.jpg", "4.png", "a/1.png", "b/c/3.png"]
    assert images.get_gt_labels().tolist() == [0, 0, 0, 0]
    samples = [images[index]["inputs"] for index in range(4)]
    assert {tuple(sample.shape) for sample in samples} == {(3, 16, 16)}
    assert [bool(sample.any()) for sample in samples] == [True, False, True, True]
    assert read_unreadable(record) == {"4.png": "is empty"}


def test_an_unfinished_line_of_the_record_is_ignored(tmp_path):
    line = json.dumps({"image": "a.png", "reason": "is empty"})
    (tmp_path / "record").write_text(f"{line}\n{line[:9]}")
    assert read_unreadable(tmp_path / "record") == {"a.png": "is empty"}
    assert read_unreadable(tmp_path / "none") == {}


def test_a_thumbnail_is_the_mean_of_squares_less_that_of_the_image():
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    network = Thumbnail(32)
    with_torch = network(network.average.weight.new_tensor(images)).detach().numpy()
    means = images.reshape(2, 3, 16, 2, 16, 2).mean((3, 5)).reshape(2, 3, 256)
    expected = (means - means.mean(2, keepdims=True)).reshape(2, -1)
    np.testing.assert_allclose(with_torch, expected, atol=1e-6)


def test_a_crop_that_makes_no_thumbnail_is_refused():
    with pytest.raises(ValueError, match="a multiple of 16, not 30"):
        thumbnails(30)


def test_a_picture_of_strips_has_room_for_all(folder, tmp_path):
    tile = Tile(folder / "2.jpg", "a very long caption that cannot fit below its image", KEPT)
    sections = [
        Section("pairs", [Strip("0.5", [tile, tile])] * 5),
        Section("nothing", []),
        Section("more than fit", [Strip("many", [tile] * 12)]),
    ]
    draw_strips(tmp_path / "picture.jpg", "title", sections, wide=4)
    with Image.open(tmp_path / "picture.jpg") as picture:
        pixels = np.asarray(picture).astype(int)
    green = (abs(pixels - [26, 127, 55]).sum(2) < 40).any(0)
    assert green.any()
    assert not green[-10:].any()


def test_names_in_greek_and_cyrillic_are_written(folder, tmp_path):
    pictures = []
    for caption in ("\u0416\u0438", "\u0424\u0443", "\u03a9\u03bb"):
        strip = Strip("", [Tile(folder / "2.jpg", caption)])
        draw_strips(tmp_path / "picture.png", "", [Section("", [strip])], wide=1)
        pictures.append((tmp_path / "picture.png").read_bytes())
    # Of a font without them, all would be the same boxes.
    assert len(set(pictures)) == 3
