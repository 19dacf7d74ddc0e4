"""Folder trees of images, some of which cannot be read."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS

from mmdino.datasets import image_folder
from mmdino.datasets.samplers import SeededIndex

PIPELINE = [
    {"type": "LoadImageFromFile", "ignore_empty": True},
    {
        "type": "mmdino.MultiCropTransform",
        "views": [
            {"num": 2, "size": 16, "scale": (0.4, 1.0)},
            {"num": 1, "size": 8, "scale": (0.05, 0.4)},
        ],
    },
    {"type": "PackInputs"},
]
IMAGES = ["cat/1.png", "cat/2.PNG", "cat/deep/er/3.png", "dog/4.jpg", "dog/5.jpeg"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in IMAGES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), rng.integers(256, size=(24, 20, 3), dtype=np.uint8))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def build(folder, **options):
    return DATASETS.build(
        {"type": "mmdino.ImageFolder", "data_root": str(folder), "pipeline": PIPELINE, **options}
    )


def files_of(dataset):
    return [str(dataset.get_data_info(index)["img_path"]) for index in range(len(dataset))]


def break_image(path, how):
    """Makes a file unreadable."""
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "no image":
        path.write_text("<html>404</html>")
    else:
        path.write_bytes(path.read_bytes()[:20])


def test_a_tree_without_labels_is_taken_whole(folder):
    dataset = build(folder)
    assert files_of(dataset) == [str(folder / name) for name in IMAGES]
    sample = dataset[0]
    assert [view.shape for view in sample["inputs"]] == [(3, 16, 16), (3, 16, 16), (3, 8, 8)]
    assert sample["data_samples"].img_path == str(folder / IMAGES[0])
    assert "skipped_paths" not in sample["data_samples"]


def test_first_level_of_folders_names_the_classes(folder):
    dataset = build(folder, with_label=True)
    assert dataset.metainfo["classes"] == ("cat", "dog")
    assert files_of(dataset) == [str(folder / name) for name in IMAGES]
    assert dataset.get_gt_labels().tolist() == [0, 0, 0, 1, 1]
    assert dataset[3]["data_samples"].gt_label.tolist() == [1]


def test_labels_from_a_file(folder):
    (folder / "list.txt").write_text("dog/4.jpg 7\ncat/1.png 3\n")
    dataset = build(folder, with_label=True, ann_file="list.txt")
    assert files_of(dataset) == [str(folder / "dog/4.jpg"), str(folder / "cat/1.png")]
    assert dataset.get_gt_labels().tolist() == [7, 3]


@pytest.mark.parametrize("number", [1, 2, len(IMAGES) - 1])
def test_held_out_images_are_those_that_training_leaves_out(folder, number):
    held = files_of(build(folder, hold_out=number, held_out=True))
    kept = files_of(build(folder, hold_out=number))
    assert len(held) == number
    assert sorted(held + kept) == files_of(build(folder))


@pytest.mark.parametrize(
    "arguments",
    [
        {"hold_out": -1},
        {"hold_out": 0, "held_out": True},
        {"hold_out": len(IMAGES)},
        {"hold_out": 0.5},
    ],
)
def test_held_out_images_that_leave_none_are_refused(folder, arguments):
    with pytest.raises(ValueError, match=f"hold_out={arguments['hold_out']}"):
        build(folder, **arguments)


def test_every_nth_image(folder):
    assert files_of(build(folder, every=2)) == [str(folder / name) for name in IMAGES[::2]]
    with pytest.raises(ValueError, match="every=0"):
        build(folder, every=0)


def test_a_fraction_is_taken_of_each_class(folder):
    options = {"with_label": True, "fraction": 0.4}
    found = [files_of(build(folder, **options, fraction_seed=seed)) for seed in range(8)]
    assert all(["cat" in first, "dog" in second] == [True, True] for first, second in found)
    assert len({tuple(files) for files in found}) > 1
    assert files_of(build(folder, with_label=True, fraction=1.0)) == files_of(build(folder))


def test_a_fraction_needs_labels(folder):
    with pytest.raises(ValueError, match=r"fraction=0\.1 without labels"):
        build(folder, fraction=0.1)
    with pytest.raises(ValueError, match=r"invalid fraction=2: expected a number within \(0, 1\]"):
        build(folder, with_label=True, fraction=2)


def test_a_class_without_images_is_named(folder):
    (folder / "bird").mkdir()
    with pytest.raises(ValueError, match=r"1 of 3 class folders in .* contain no image: bird"):
        build(folder, with_label=True)


def test_missing_folders_and_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere' does not exist\. Set data_root"):
        build(folder / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"list\.txt' does not exist"):
        build(folder, ann_file="list.txt")


@pytest.mark.parametrize(
    ("with_label", "layout"), [(False, r"folder/\*\*/image"), (True, "folder/class_name/image")]
)
def test_folders_without_images_are_named(tmp_path, with_label, layout):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match=f"No image in '{tmp_path}.*{layout}.*png"):
        build(tmp_path, with_label=with_label)


@pytest.mark.parametrize("how", ["missing", "empty", "no image", "cut short"])
def test_unreadable_images_are_replaced_by_the_next_and_noted(folder, how):
    dataset = build(folder)
    break_image(folder / IMAGES[1], how)
    break_image(folder / IMAGES[2], how)
    sample = dataset[SeededIndex(1, (0, 0, 1))]
    assert sample["data_samples"].img_path == str(folder / IMAGES[3])
    assert sample["data_samples"].skipped_paths == [str(folder / name) for name in IMAGES[1:3]]
    # The views are drawn with the seed of the image that was asked for.
    expected = dataset[SeededIndex(3, (0, 0, 1))]["inputs"]
    assert all((a == b).all() for a, b in zip(sample["inputs"], expected, strict=True))


def test_after_the_last_image_comes_the_first(folder):
    dataset = build(folder)
    break_image(folder / IMAGES[-1], "empty")
    assert dataset[4]["data_samples"].img_path == str(folder / IMAGES[0])


@pytest.mark.parametrize("how", ["missing", "empty", "no image", "cut short"])
def test_unreadable_images_are_errors_in_test_mode(folder, how):
    dataset = build(folder, test_mode=True)
    break_image(folder / IMAGES[1], how)
    with pytest.raises(ValueError, match=r"1 consecutive image\(s\) cannot be read: .*2\.PNG"):
        dataset[1]
    assert dataset[2]["data_samples"].img_path == str(folder / IMAGES[2])


def test_too_many_unreadable_images_in_a_row_are_an_error(folder):
    dataset = build(folder, max_refetch=2)
    for name in IMAGES[:3]:
        break_image(folder / name, "empty")
    with pytest.raises(ValueError, match=r"3 consecutive image\(s\) .*1\.png is.*2\.PNG"):
        dataset[0]
    assert dataset[1]["data_samples"].img_path == str(folder / IMAGES[3])


def test_the_list_that_names_an_unreadable_image_is_named_too(folder, tmp_path):
    (tmp_path / "ann.txt").write_text(f"{IMAGES[0]} 0\n{IMAGES[1]} 1\n")
    dataset = build(folder, ann_file=str(tmp_path / "ann.txt"), with_label=True, test_mode=True)
    (folder / IMAGES[1]).unlink()
    with pytest.raises(ValueError, match=r"remove them, and their lines in '.*ann\.txt'"):
        dataset[1]


def test_other_failures_of_the_pipeline_are_not_taken_for_unreadable_images(folder):
    def fail(results):
        raise AssertionError("a mistake in a transform")

    with pytest.raises(AssertionError, match="a mistake in a transform"):
        build(folder, pipeline=[*PIPELINE, fail])[0]


def write_list(folder, text):
    path = folder / "list.txt"
    path.write_text(text)
    return str(path)


def test_a_list_says_which_images_and_in_which_order(folder):
    listed = write_list(folder, "dog/4.jpg\r\ncat/2.PNG\n\ncat/deep/er/3.png\n")
    names = ["dog/4.jpg", "cat/2.PNG", "cat/deep/er/3.png"]
    dataset = build(folder, list=listed)
    assert files_of(dataset) == [str(folder / name) for name in names]
    assert dataset[0]["data_samples"].img_path == str(folder / "dog/4.jpg")
    assert files_of(build(folder, list=listed, every=2)) == [
        str(folder / names[0]),
        str(folder / names[2]),
    ]
    assert files_of(build(folder, list=write_list(folder, "4.jpg"), data_prefix="dog")) == [
        str(folder / "dog/4.jpg")
    ]


def test_a_name_in_a_list_keeps_its_spaces(folder):
    (folder / " a b .png").write_bytes((folder / IMAGES[0]).read_bytes())
    assert files_of(build(folder, list=write_list(folder, " a b .png\n")))[0].endswith("/ a b .png")


def test_an_image_that_is_listed_twice_is_used_twice_and_said(folder, monkeypatch):
    logged = []
    monkeypatch.setattr(image_folder, "print_log", lambda text, **options: logged.append(text))
    dataset = build(folder, list=write_list(folder, "dog/4.jpg\ncat/1.png\ndog/4.jpg\n"))
    assert len(dataset) == 3
    assert "1 of 3 lines repeat an image" in logged[0]


@pytest.mark.parametrize(
    ("text", "options", "named"),
    [
        ("cat/1.png\ncat/9.png\n", {}, r"1 of 2 files of the list .* cat/9\.png\. Set data_root"),
        ("\n \n", {}, "has no image"),
        ("cat/1.png\n/etc/passwd\n", {}, "Line 2 of the list .* relative to the image folder"),
        ("cat/../../1.png\n", {}, "Line 1 of the list .* relative to the image folder"),
        ("cat/1.png\n", {"with_label": True}, "together with labels"),
        ("cat/1.png\n", {"ann_file": "x.txt"}, "together with labels"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(folder, text, options, named):
    with pytest.raises((ValueError, FileNotFoundError), match=named):
        build(folder, list=write_list(folder, text), **options)


def test_a_missing_list_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt' does not exist"):
        build(folder, list="nowhere.txt")
