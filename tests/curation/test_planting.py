"""Planted copies, and what a threshold finds of them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from mmdino.curation.planting import (
    ALTERATIONS,
    Found,
    Planted,
    measure,
    plant,
    planted_before,
    planted_set,
    suggest,
)

KINDS = list(ALTERATIONS)


def test_each_image_gets_one_altered_copy_in_turn(tmp_path):
    images = []
    for number in range(len(KINDS) + 1):
        pixels = np.random.default_rng(number).integers(256, size=(20, 40, 3), dtype=np.uint8)
        images.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(images[-1])
    names = plant(images, tmp_path / "planted", len(images)).names
    planted = planted_set(names)
    count = len(images)
    assert planted.group.tolist() == [*range(count), *range(count)]
    assert planted.alteration.tolist() == [-1] * count + [*range(len(KINDS)), 0]
    copies = {
        kind: Image.open(tmp_path / "planted" / name)
        for kind, name in zip(KINDS, names[count:], strict=False)
    }
    assert copies["crop 90 %"].size == (36, 18)
    assert copies["crop 70 %"].size == (28, 14)
    assert copies["resize 50 %"].size == (20, 10)
    assert copies["JPEG quality 10"].format == "JPEG"
    flipped = np.asarray(copies["flip"])
    np.testing.assert_array_equal(flipped[:, ::-1], Image.open(images[KINDS.index("flip")]))
    assert (tmp_path / "planted" / names[0]).read_bytes() == images[0].read_bytes()


@pytest.fixture
def photographs(tmp_path):
    """Nine images, of which the second is broken and the fifth is none."""
    paths = []
    for number in range(9):
        pixels = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        paths.append(tmp_path / "images" / f"{number}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(paths[-1])
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[4].write_text("no image")
    return paths


def test_others_take_the_place_of_images_that_cannot_be_read(photographs, tmp_path):
    planting = plant(photographs, tmp_path / "planted", 5)
    assert planting.originals == 5
    assert planting.unreadable == [str(photographs[1]), str(photographs[4])]
    for name, number in zip(planting.names, (0, 2, 3, 5, 6), strict=False):
        assert (tmp_path / "planted" / name).read_bytes() == photographs[number].read_bytes()
    assert plant(photographs, tmp_path / "planted", 9).originals == 7
    assert planted_before(photographs, tmp_path / "planted", 9).originals == 7
    with pytest.raises(ValueError, match=r"None of the 1 image.* such as .*4\.png\. Give others"):
        plant(photographs[4:5], tmp_path / "planted", 1)


def test_what_is_planted_is_known_by_its_images_and_settings(photographs, tmp_path):
    folder = tmp_path / "planted"
    assert planted_before(photographs, folder, 5) is None
    planting = plant(photographs, folder, 5)
    assert planted_before(photographs, folder, 5) == planting
    # The last two images were not drawn.
    assert planted_before(photographs[:7], folder, 5) == planting
    assert planted_before(photographs, folder, 4) is None
    assert planted_before(photographs, folder, 5, seed=1) is None
    assert planted_before(photographs[::-1], folder, 5) is None
    others = [path.rename(path.with_stem(f"{path.stem}_")) for path in photographs]
    assert planted_before(others, folder, 5) is None
    plant(others, folder, 5)
    status = others[3].stat()
    os.utime(others[3], ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert planted_before(others, folder, 5) is None


def test_planting_leaves_nothing_of_before_and_no_files_of_others(photographs, tmp_path):
    folder = tmp_path / "planted"
    plant(photographs, folder, 7)
    names = plant(photographs, folder, 2).names
    assert {path.name for path in folder.iterdir() if path.suffix != ".json"} == {*names}
    (folder / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"not planted, such as holiday\.jpg\. Give another"):
        plant(photographs, folder, 2)
    assert (folder / names[0]).is_file()


def test_precision_and_recall_of_what_is_dropped():
    """Originals 0, 1, 2 with copies 3, 4, 5; 0 and its copy are found, and 1 mistaken for 2."""
    planted = Planted(np.array([0, 1, 2, 0, 1, 2]), np.array([-1, -1, -1, 0, 1, 1]))
    pairs = np.array([[0, 3], [1, 2], [1, 4]])
    found = measure(planted, pairs, np.array([0.9, 0.8, 0.5]), 0.7)
    assert found.dropped == 2
    assert (found.precision, found.recall) == (0.5, pytest.approx(1 / 3))
    assert found.by_alteration == {KINDS[0]: 1, KINDS[1]: 0}
    found = measure(planted, pairs, np.array([0.9, 0.8, 0.5]), 0.85)
    assert (found.precision, found.dropped) == (1, 1)
    assert np.isnan(measure(planted, pairs, np.array([0.9, 0.8, 0.5]), 0.95).precision)


def test_the_lowest_threshold_that_stays_precise_is_suggested():
    precisions = [0.2, 1.0, 0.5, 0.99, 1.0, float("nan")]
    found = [
        Found(position / 10, int(not np.isnan(value)), value, 0.5, {})
        for position, value in enumerate(precisions)
    ]
    assert suggest(found, 0.99).threshold == 0.3
    assert suggest(found, 1.0).threshold == 0.4
    assert suggest(found[:3], 0.9) is None
    assert suggest(found[5:], 0.9) is None
