"""Layouts of the published sets are read, and what does not fit is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny_evaluations
from PIL import ExifTags, Image
from tiny_vit import picture

from mmdino.evaluation.copy_sets import images_below, read_copydays, read_pairs
from mmdino.evaluation.davis import object_scores, read_labels, read_videos
from mmdino.evaluation.listed_features import ListedImage, ListedImages, cut_box
from mmdino.evaluation.revisited_ground_truth import read_ground_truth
from mmdino.visualization.mask_overlay import write_palette_png
from mmdino.visualization.media import read_image


def test_a_pickle_and_json_have_the_same_truth(tmp_path):
    folder = tiny_evaluations.write_revisited(tmp_path) / "roxford5k"
    of_pickle = read_ground_truth(folder, "roxford5k")
    assert of_pickle.database == tiny_evaluations.DATABASE
    assert of_pickle.queries == tiny_evaluations.QUERIES
    assert of_pickle.truth[0].hard.tolist() == [1]
    assert of_pickle.boxes()[0] == (8.0, 4.0, 50.5, 36.0)
    content = {
        "imlist": of_pickle.database,
        "qimlist": of_pickle.queries,
        "gnd": [{"easy": [2], "hard": [], "junk": []}] * 2,
    }
    (folder / "gnd_roxford5k.json").write_text(json.dumps(content))
    of_json = read_ground_truth(folder, "roxford5k")
    assert of_json.truth[1].easy.tolist() == [2], "JSON comes before the pickle"
    with pytest.raises(ValueError, match="no bounding box"):
        of_json.boxes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gnd": None}, "gnd is no list of 1 dicts"),
        ({"gnd": [{"ok": [0], "junk": []}]}, "lacks easy, hard or junk"),
        ({"gnd": [{"easy": [5], "hard": [], "junk": []}]}, "but imlist has 2 images"),
        ({"gnd": [{"easy": [-1], "hard": [], "junk": []}]}, "goes from -1"),
        ({"gnd": [{"easy": [0.5], "hard": [], "junk": []}]}, "no list of whole numbers"),
        ({"gnd": [{"easy": [[0], [0, 1]], "hard": [], "junk": []}]}, "is no ground truth"),
        ({"gnd": [{"easy": [], "hard": [], "junk": [], "bbx": [1, 2]}]}, "not four numbers"),
        ({"imlist": []}, "imlist is empty"),
        ({"qimlist": ["../q"]}, "which is no name of a file"),
        ({"imlist": ["a", "/b"]}, "which is no name of a file"),
    ],
)
def test_a_ground_truth_of_another_kind_is_refused(tmp_path, change, named):
    truth = {"easy": [0], "hard": [], "junk": []}
    content = {"imlist": ["a", "b"], "qimlist": ["q"], "gnd": [truth], **change}
    (tmp_path / "gnd_x.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no ground truth of revisited Oxford or Paris") as caught:
        read_ground_truth(tmp_path, "x")
    assert named in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2", "[1]", '{"imlist": []}'])
def test_a_damaged_ground_truth_is_named(tmp_path, text):
    (tmp_path / "gnd_x.json").write_text(text)
    with pytest.raises(ValueError, match=r"gnd_x\.json"):
        read_ground_truth(tmp_path, "x")


def test_boxes_are_cut_out_and_small_images_refused(tmp_path):
    path = tiny_evaluations.save(tmp_path / "a.png", picture())
    images = [ListedImage(path), ListedImage(path, (10.2, 5.0, 30.4, 100.0))]
    listed = ListedImages(images, lambda image: image)
    whole, part = (listed[index]["inputs"] for index in range(2))
    assert (whole.shape, part.shape) == ((3, 40, 56), (3, 35, 20))
    np.testing.assert_array_equal(part, whole[:, 5:, 10:30])
    np.testing.assert_array_equal(whole.permute(1, 2, 0).flip(2), picture())
    with pytest.raises(ValueError, match="both sides must be at least 41"):
        ListedImages(images, lambda image: image, 41)[0]
    with pytest.raises(ValueError, match="has nothing of its 56 x 40 pixels"):
        cut_box(picture(), (60, 0, 70, 9), path)


def test_images_are_used_as_stored(tmp_path):
    """Boxes are given so, and the reference ignores the orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (56, 40, 3)
    sample = ListedImages([ListedImage(tmp_path / "a.jpg")], lambda image: image)[0]
    assert sample["inputs"].shape == (3, 40, 56)


def test_copies_belong_to_originals(tmp_path):
    data = read_copydays(tiny_evaluations.write_copydays(tmp_path) / "copydays")
    assert [path.name for path in data.originals] == ["200000.jpg", "201000.jpg", "202000.jpg"]
    assert list(data.blocks) == ["strong", "crops/10"]
    for block in data.blocks.values():
        assert block.originals == [[0], [1], [2]]
    # Several originals may begin alike.
    tiny_evaluations.save(tmp_path / "copydays" / "original" / "201050.jpg", picture())
    data = read_copydays(tmp_path / "copydays", ["strong"])
    assert data.blocks["strong"].originals == [[0], [1, 2], [3]]


@pytest.mark.parametrize("block", ["strong", "crops/10"])
def test_a_copy_of_nothing_is_named(tmp_path, block):
    root = tiny_evaluations.write_copydays(tmp_path) / "copydays"
    tiny_evaluations.save(root / block / "999000.jpg", picture())
    with pytest.raises(ValueError, match=r"999000\.jpg is a copy of no image"):
        read_copydays(root)


def test_pairs_are_read_and_strange_names_refused(tmp_path):
    tiny_evaluations.write_lists(tmp_path)
    queries, references = (images_below(tmp_path / name) for name in ("queries", "references"))
    path = tmp_path / "pairs.csv"
    assert read_pairs(path, queries, references) == {(0, 0), (1, 1)}
    for text, named in {
        "Q00000,R000000": "first line is 'Q00000,R000000'",
        "": "first line is ''",
        "query_id,reference_id\nQ9,R000000": "names 'Q9'",
        "query_id,reference_id\nQ00000,R9": "names 'R9'",
        "query_id,reference_id\nQ00000,": "pairs no query",
        "query_id,reference_id\nQ00000": "pairs no query",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=r"pairs\.csv") as caught:
            read_pairs(path, queries, references)
        assert named in str(caught.value)
    with pytest.raises(ValueError, match="Two images have the name 'Q00000'"):
        read_pairs(path, [queries[0], tmp_path / "Q00000.png"], references)


def test_videos_are_listed_and_scored(tmp_path):
    root = tiny_evaluations.write_davis(tmp_path)
    bear, goat = read_videos(root)
    assert [video.name for video in read_videos(root, names=["goat"])] == ["goat"]
    perfect = object_scores(bear, bear.masks)
    assert set(perfect) == {1, 2}
    assert perfect[1].region == perfect[2].contour == (1.0, 1.0, 0.0)
    for frame in goat.frames:
        write_palette_png(tmp_path / "out" / f"{frame.stem}.png", goat.first_labels())
    assert object_scores(goat, tmp_path / "out") == {}, "no mask but that of the first frame"
    # First and last frame do not count.
    for frame in (bear.frames[0], bear.frames[-1]):
        write_palette_png(tmp_path / "worse" / f"{frame.stem}.png", np.zeros((48, 70), np.uint8))
    for frame in bear.frames[1:-1]:
        write_palette_png(tmp_path / "worse" / f"{frame.stem}.png", read_labels(bear.mask(frame)))
    assert object_scores(bear, tmp_path / "worse") == perfect


def test_masks_of_another_kind_are_refused(tmp_path):
    root = tiny_evaluations.write_davis(tmp_path)
    (video,) = read_videos(root, names=["goat"])
    first = video.mask(video.frames[0])
    write_palette_png(first, np.full((48, 70), 255, np.uint8))
    with pytest.raises(ValueError, match="the value 255: DAVIS 2017 numbers objects from 1"):
        video.first_labels()
    write_palette_png(first, np.zeros((48, 70), np.uint8))
    with pytest.raises(ValueError, match="has no object"):
        video.first_labels()
    first.unlink()
    with pytest.raises(FileNotFoundError, match="the mask of a video's first frame"):
        read_videos(root)
