"""What is found in a folder before a recipe is chosen."""

from __future__ import annotations

import os
import tarfile

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmdino.datasets.image_check import image_header
from mmdino.folder_recipe import images
from mmdino.folder_recipe.images import classes_of, evenly, look_at_images


def save(path, channels=3, dtype=np.uint8, height=12, width=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, channels) if channels > 1 else (height, width)
    cv2.imwrite(str(path), np.full(shape, 7, dtype))
    return path


@pytest.mark.parametrize(
    ("name", "channels", "dtype", "expected"),
    [
        ("a.png", 1, np.uint8, (10, 12, 1, 8)),
        ("a.png", 3, np.uint8, (10, 12, 3, 8)),
        ("a.png", 4, np.uint8, (10, 12, 4, 8)),
        ("a.png", 1, np.uint16, (10, 12, 1, 16)),
        ("a.png", 3, np.uint16, (10, 12, 3, 16)),
        ("a.jpg", 1, np.uint8, (10, 12, 1, 8)),
        ("a.jpg", 3, np.uint8, (10, 12, 3, 8)),
        ("a.tif", 1, np.uint16, (10, 12, 1, 16)),
    ],
)
def test_a_header_has_size_channels_and_bits(tmp_path, name, channels, dtype, expected):
    assert tuple(image_header(save(tmp_path / name, channels, dtype))) == expected


def test_a_palette_holds_colours(tmp_path):
    for name in ("a.png", "a.gif"):
        Image.new("P", (10, 12)).save(tmp_path / name)
        assert image_header(tmp_path / name).channels == 3


def test_16_bit_colours_that_pillow_does_not_know_are_decoded(tmp_path):
    save(tmp_path / "a.tif", 3, np.uint16)
    (header,) = look_at_images(tmp_path).headers
    assert tuple(header) == (10, 12, 3, 16)


def test_a_folder_is_described(tmp_path):
    for index in range(3):
        save(tmp_path / "deep" / f"{index}.png", height=20 + index)
    save(tmp_path / "gray.png", 1, height=40, width=40)
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").touch()
    folder = look_at_images(tmp_path)
    assert (len(folder.names), folder.looked_at, folder.count, folder.unreadable_count) == (
        *(5, 5, 4, 1),
    )
    text = folder.describe()
    assert "5 images. Looked at 5 (all; 5 decoded)" in text
    assert "shorter side 10 to 40 pixels, median 10" in text
    assert "3 (75%) and 1 (25%) channel(s), 8 bits; 1 unreadable." in text
    assert "Unreadable: broken.jpg is damaged, or no image. They are skipped." in text
    assert "1 left out: other extensions: 1 (.txt: notes.txt)." in text


def test_of_many_images_a_sample_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_HEADERS", 4)
    monkeypatch.setattr(images, "MAX_DECODED", 1)
    for index in range(8):
        save(tmp_path / f"{index}.png")
    # Good headers, of which the decoded one alone shows that the rest is missing.
    for index in (0, 2):
        whole = (tmp_path / f"{index}.png").read_bytes()
        (tmp_path / f"{index}.png").write_bytes(whole[:40])
    folder = look_at_images(tmp_path)
    assert "8 images. Looked at 4 (spread over the names; 1 decoded)" in folder.describe()
    assert [*map(str, folder.unreadable)] == ["0.png is damaged, or no image"]
    assert folder.usable == [f"{index}.png" for index in range(1, 8)]
    assert (folder.count, folder.unreadable_count) == (6, 2)


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_list_is_looked_at_in_its_order(tmp_path, name):
    for index in range(3):
        save(tmp_path / "photos" / f"{index}.png")
    header = "path\n" if name == "list.csv" else ""
    (tmp_path / name).write_text(f"{header}photos/2.png\nphotos/0.png\n")
    facts = look_at_images(tmp_path / name)
    assert facts.names == ("photos/2.png", "photos/0.png")
    assert (facts.root, facts.source) == (str(tmp_path), {"list": str(tmp_path / name)})
    assert f"{tmp_path / name}: 2 images. Looked at 2" in facts.describe()


@pytest.mark.parametrize("given", ["shards", "shards/*.tar"])
def test_shards_are_looked_at(tmp_path, monkeypatch, given):
    monkeypatch.setattr(images, "MAX_DECODED", 1)  # of the others, the headers
    (tmp_path / "shards").mkdir()
    (tmp_path / "empty.png").touch()
    with tarfile.open(tmp_path / "shards" / "a.tar", "w") as tar:
        for index in range(2):
            tar.add(save(tmp_path / f"{index}.png", 1, np.uint16), f"{index}.png")
        tar.add(tmp_path / "empty.png", "empty.png")
    facts = look_at_images(tmp_path / given)
    assert facts.headers == ((10, 12, 1, 16),) * 2
    assert str(facts.unreadable[0]).endswith("/empty.png is empty")
    assert facts.source == {"type": "mmdino.TarShards", "shards": "*.tar"}
    assert facts.root == str(tmp_path / "shards")


def test_names_that_are_no_utf8_are_looked_at(tmp_path):
    save(tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    assert look_at_images(tmp_path).looked_at == 1


def many_channels(folder):
    bands = np.zeros((9, 9, 5), np.uint8)
    tifffile.imwrite(folder / "a.tif", bands, photometric="minisblack", planarconfig="contig")


@pytest.mark.parametrize(
    ("bands", "dtype", "options", "dropped"),
    [
        (4, "uint8", {"photometric": "minisblack"}, "has 4 bands, of which 1 would be read"),
        (3, "uint16", {"photometric": "minisblack"}, "has 3 bands, of which 1 would be read"),
        (4, "uint16", {"extrasamples": [0]}, "has 4 bands, of which 3 would be read"),
        (4, "uint8", {"extrasamples": [0], "bigtiff": True}, "has 4 bands, of which 3"),
        (4, "uint8", {"extrasamples": [0], "byteorder": ">"}, "has 4 bands, of which 3"),
        (4, "uint8", {"extrasamples": ["unassalpha"]}, ""),
        (3, "uint16", {}, ""),
    ],
)
def test_bands_that_would_be_dropped_are_told(tmp_path, bands, dtype, options, dropped):
    """OpenCV reads them as grey or colours without a word."""
    image = np.zeros((9, 9, bands), dtype)
    options = {"photometric": "rgb", "planarconfig": "contig", **options}
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    if dropped:
        with pytest.raises(ValueError, match=rf"a\.tif {dropped}.*need --reader"):
            look_at_images(tmp_path)
    else:
        assert look_at_images(tmp_path).headers[0].channels == bands


def broken(folder):
    for index in range(5):
        (folder / f"{index}.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f: f.rmdir(), FileNotFoundError, "images' does not exist"),
        (lambda f: (f.rmdir(), f.touch()), ValueError, "images' is no folder of images, and no li"),
        (lambda f: None, FileNotFoundError, r"No image in .*images': expected files at any depth"),
        (lambda f: (f / "a.txt").touch(), FileNotFoundError, r"\.webp\. 1 left out: other ext"),
        (lambda f: (f / "a.MP4").touch(), FileNotFoundError, r"\.mp4: a\.MP4\)\. .*ffmpeg -i CLIP"),
        (
            many_channels,
            ValueError,
            r"a\.tif has 5 bands, of which 1 .*need --reader mmdino",
        ),
        (broken, ValueError, r"None of the 5 images of .* \(of 5\) can be read: 0\.png is empty, "),
    ],
)
def test_a_folder_without_images_is_an_error(tmp_path, make, error, message):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(error, match=message):
        look_at_images(folder)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"cat": 10, "dog": 12}, ["cat", "dog"]),
        ({"cat": 10}, None),  # one folder
        ({"cat": 10, "dog": 9}, None),  # too few to be neighbours
        ({"cat": 10, "dog": 10, "": 1}, None),  # an image beside the folders
        ({"Train": 10, "val": 10}, None),  # parts of a data set
    ],
)
def test_folders_that_look_like_classes(counts, expected):
    names = [os.path.join(top, f"{i}.png") for top, count in counts.items() for i in range(count)]
    classes = classes_of(names)
    assert (list(classes) if classes else None) == expected
    assert classes is None or [len(members) for members in classes.values()] == [10, 12]


def test_items_are_spread_evenly():
    items = list("abcdef")
    assert evenly(items, 3) == ["a", "c", "e"]
    assert evenly(items, 9) == items
