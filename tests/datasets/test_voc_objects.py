"""Data in the layout of PASCAL VOC 2012 is read by id, and errors name the file."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image

CLASSES = np.array([[0, 12, 12], [15, 255, 15]], np.uint8)
INSTANCES = np.array([[0, 1, 2], [3, 255, 4]], np.uint8)


def save_mask(path, ids):
    """Writes a PNG whose palette is far from the ids, as VOC's is."""
    image = Image.fromarray(ids)
    image.putpalette([(37 * value) % 256 for value in range(3 * 256)])
    image.save(path)


@pytest.fixture
def voc(tmp_path):
    """Two images, the second without an object."""
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (tmp_path / folder).mkdir()
    listing = tmp_path / "ImageSets" / "Segmentation"
    listing.mkdir(parents=True)
    (listing / "val.txt").write_text("2007_000033\n2007_000042\n")
    for name, factor in (("2007_000033", 1), ("2007_000042", 0)):
        Image.fromarray(np.full((2, 3, 3), 90, np.uint8)).save(
            tmp_path / "JPEGImages" / f"{name}.jpg"
        )
        save_mask(tmp_path / "SegmentationClass" / f"{name}.png", CLASSES * np.uint8(factor))
        save_mask(tmp_path / "SegmentationObject" / f"{name}.png", INSTANCES * np.uint8(factor))
    return tmp_path


def build(root, **options):
    return DATASETS.build({"type": "mmdino.VOCObjects", "data_root": str(root), **options})


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ("class", CLASSES),
        ("instance", INSTANCES),
        ("foreground", [[0, 1, 1], [1, 255, 1]]),
    ],
)
def test_pixel_values_are_the_ids(voc, objects, expected):
    dataset = build(voc, objects=objects)
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample["img_path"] == str(voc / "JPEGImages" / "2007_000033.jpg")
    assert sample["gt_seg_map"].dtype == np.uint8
    np.testing.assert_array_equal(sample["gt_seg_map"], expected)
    assert not dataset[1]["gt_seg_map"].any()
    assert "aeroplane" in dataset.metainfo["classes"]


def test_a_pipeline_can_follow(voc):
    dataset = build(voc, pipeline=[{"type": "LoadImageFromFile"}, {"type": "PackInputs"}])
    assert dataset[0]["inputs"].shape == (3, 2, 3)


def test_first_images_only(voc):
    assert len(build(voc, indices=1)) == 1


@pytest.mark.parametrize(
    "missing",
    [
        "ImageSets/Segmentation/val.txt",
        "JPEGImages/2007_000042.jpg",
        "SegmentationClass/2007_000042.png",
    ],
)
def test_a_missing_file_is_named_with_the_layout(voc, missing):
    (voc / missing).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"{missing} does not exist(.|\n)*VOCdevkit/VOC2012"
    ):
        build(voc)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"val\.txt does not exist"):
        build(tmp_path / "nowhere")


def test_an_empty_list_is_rejected(voc):
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(FileNotFoundError, match="lists no images"):
        build(voc)


def test_unknown_ids_are_named_with_their_file(voc):
    path = voc / "SegmentationClass" / "2007_000033.png"
    save_mask(path, np.array([[0, 21, 254]], np.uint8))
    with pytest.raises(ValueError, match=r"2007_000033\.png has unknown ids: 21, 254\. Valid are"):
        build(voc)[0]


def test_colour_masks_are_rejected(voc):
    Image.new("RGB", (3, 2)).save(voc / "SegmentationClass" / "2007_000033.png")
    with pytest.raises(ValueError, match="mode RGB: expected a palette"):
        build(voc)[0]


def test_unknown_kind_of_objects_is_rejected(voc):
    with pytest.raises(ValueError, match=r"invalid objects='box' .* one of class, instance"):
        build(voc, objects="box")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"<html>404</html>", "cannot identify image file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0\0\xff\xff" * 2, "it has 65535 x 65535 pixels"),
    ],
)
def test_a_mask_that_cannot_be_read_is_named(voc, content, reason):
    (voc / "SegmentationClass" / "2007_000033.png").write_bytes(content)
    with pytest.raises(ValueError, match=rf"mask .*2007_000033\.png cannot be read \({reason}"):
        build(voc)[0]


def test_a_list_of_names_that_are_no_utf8_is_read(voc):
    (voc / "ImageSets" / "Segmentation" / "val.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(FileNotFoundError, match=r"caf\\udce9\.jpg does not exist"):
        build(voc)
