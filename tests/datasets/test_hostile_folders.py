"""Folders, lists and images that are wrong in some way: each ends in one clear message."""

from __future__ import annotations

import os
import re
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import DATASETS
from PIL import Image
from PIL import features as pillow_features

from mmdino.datasets import image_folder
from mmdino.datasets.folder_listing import LeftOut, list_images
from mmdino.datasets.image_check import MAX_PIXELS, image_fault
from mmdino.datasets.image_folder import EXTENSIONS

LOAD = [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}]
VIEWS = [
    {"type": "LoadImageFromFile"},
    {"type": "mmdino.MultiCropTransform", "views": [{"num": 2, "size": 8, "scale": (0.4, 1.0)}]},
    {"type": "mmdino.PackViews"},
]
PIXELS = np.random.default_rng(0).integers(256, size=(12, 10, 3), dtype=np.uint8)
LATIN = os.fsdecode(b"caf\xe9.png")
"""A name that is no UTF-8."""


def save(path, mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).convert(mode).save(path, **options)
    return path


def png(width, height):
    """A valid PNG of black pixels of one bit, which takes a byte for up to 8,000 pixels."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    packer, row = zlib.compressobj(1), bytes(1 + (width + 7) // 8)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def header_only(width, height):
    """A PNG that claims a size and ends there."""
    return png(1, 1)[:16] + struct.pack(">II", width, height) + png(1, 1)[24:]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    return tmp_path


def build(folder, pipeline=LOAD, **options):
    return DATASETS.build(
        {"type": "mmdino.ImageFolder", "data_root": str(folder), "pipeline": pipeline, **options}
    )


def names_of(dataset):
    paths = [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]
    return [os.path.relpath(path, dataset.img_prefix) for path in paths]


def report(folder):
    left_out = LeftOut()
    return list_images(str(folder), EXTENSIONS, left_out), str(left_out)


# What is left out of a folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "c.xyz").touch(), r"1 left out: other extensions: 1 \(\.xyz: c\.xyz\)"),
        (lambda f: (f / "README").touch(), r"other extensions: 1 \(none: README\)"),
        (
            lambda f: [(f / f"{i}.xyz").touch() for i in range(5)],
            r"5 left out: other extensions: 5 \(\.xyz: 0\.xyz, 1\.xyz, 2\.xyz, \.\.\.\)",
        ),
        (lambda f: (f / "c.jpg").symlink_to(f / "none.jpg"), r"dangling links: 1 \(c\.jpg\)"),
        (lambda f: (f / "c.jpg").symlink_to("c.jpg"), r"dangling links: 1 \(c\.jpg\)"),
        (lambda f: (f / "loop").symlink_to(f), r"make a loop: 1 \(loop\)"),
        (lambda f: (f / "up").symlink_to("/"), r"make a loop: 1 \(up\)"),
        (lambda f: (f / ".c.png").touch(), r"hidden images: 1 \(\.c\.png\)"),
        (
            lambda f: save(f / ".waste" / "deep" / "c.png"),
            r"1 left out: hidden folders: 1 \(\.waste\)",
        ),
        (lambda f: os.mkfifo(f / "c.png"), r"neither files nor folders: 1 \(c\.png\)"),
        (lambda f: (f / "new\nline.xyz").touch(), r"\.xyz: new\\nline\.xyz"),
        (lambda f: (f / "c.\udcff").touch(), r"\.\\udcff: c\.\\udcff"),
    ],
)
def test_what_is_left_out_is_said(folder, change, message):
    change(folder)
    names, said = report(folder)
    assert names == ["a.png", "b.png"]
    assert re.search(message, said)
    said.encode()


def test_hidden_folders_are_no_classes(folder):
    for name in ("cats/a.png", "cats/.thumbnails/a.png", ".waste/b.png"):
        save(folder / name)
    dataset = build(folder, with_label=True)
    assert (dataset.CLASSES, names_of(dataset)) == (("cats",), ["cats/a.png"])


def test_the_folder_itself_may_be_hidden(folder):
    save(folder / ".cache" / "deep" / "c.png")
    assert report(folder / ".cache") == (["deep/c.png"], "0 left out: ")


def test_it_is_logged_once(folder, monkeypatch):
    logged = []
    monkeypatch.setattr(image_folder, "print_log", lambda text, **options: logged.append(text))
    (folder / "notes.xyz").touch()
    dataset = build(folder)
    assert [len(dataset[index]["inputs"]) for index in (0, 1)] == [3, 3]
    assert logged == [f"{folder}: 1 left out: other extensions: 1 (.xyz: notes.xyz)."]


def test_lines_that_repeat_an_image_are_counted(folder, monkeypatch):
    logged = []
    monkeypatch.setattr(image_folder, "print_log", lambda text, **options: logged.append(text))
    (folder / "list.txt").write_text("a.png 0\na.png 0\nb.png 1\nb.png 0\n")
    build(folder, with_label=True, ann_file="list.txt")
    assert "2 of 4 lines repeat an image, 1 of them with another label (b.png)" in logged[0]


def test_links_to_each_other_end(tmp_path):
    folders = [tmp_path / name for name in "pqrst"]
    for one in folders:
        save(one / "a.png")
        for other in folders:
            (one / f"to_{other.name}").symlink_to(other)
    names, said = report(tmp_path)
    assert names == [f"{name}/a.png" for name in "pqrst"]
    assert "25 left out: links that repeat a folder or make a loop: 25 (" in said


def test_links_to_other_folders_are_followed(tmp_path):
    save(tmp_path / "elsewhere" / "deep" / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    assert report(tmp_path / "images") == (["link/deep/a.png"], "0 left out: ")


def test_a_folder_that_vanishes_while_it_is_listed_is_named(folder, monkeypatch):
    (folder / "gone").mkdir()
    scandir = os.scandir

    def vanishing(path):
        if str(path).endswith("gone"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert report(folder) == (
        ["a.png", "b.png"],
        "1 left out: folders that cannot be read: 1 (gone)",
    )


def test_a_folder_that_cannot_be_read_is_an_error(folder, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    for with_label in (True, False):
        with pytest.raises(OSError, match=r"cannot be read \(Permission denied\)\. Change its"):
            build(folder, with_label=with_label)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_extension_is_one_that_the_loader_reads(tmp_path, extension):
    mode = "1" if extension == ".pbm" else "L" if extension == ".pgm" else "RGB"
    kind = {".dib": "BMP", ".pnm": "PPM", ".jpe": "JPEG"}.get(extension)
    save(tmp_path / f"a{extension}", mode, format=kind)
    assert build(tmp_path)[0]["inputs"].shape == (3, 12, 10)


TREES = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abc"), max_size=3),
        st.text("xy.\xe9 \udce9", min_size=1, max_size=4).filter(lambda name: name.strip(".")),
        st.sampled_from([".png", ".JPG", ".txt", "", ".gif"]),
        st.sampled_from(["file", "dangling", "link to a folder"]),
    ),
    max_size=8,
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(TREES)
def test_any_tree_is_listed_like_a_walk(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("tree")
    real = []
    for folders, stem, extension, kind in tree:
        folder = root.joinpath(*folders)
        path = folder / f"{stem}{extension}"
        if (folder.exists() and path.is_symlink()) or path.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.touch()
            if extension and extension != ".txt" and not path.name.startswith("."):
                real.append(os.path.relpath(path, root))
        else:
            path.symlink_to(root if kind == "link to a folder" else "nowhere")
    names, said = report(root)
    assert names == sorted(real)
    said.encode()
    shutil.rmtree(root)


# Names that are no UTF-8


def test_names_that_are_no_utf8_train_and_are_named(folder):
    save(folder / LATIN)
    (folder / "dud.png").write_bytes(b"")
    dataset = build(folder, VIEWS)
    assert names_of(dataset) == sorted(["a.png", "b.png", LATIN, "dud.png"])
    index = names_of(dataset).index(LATIN)
    assert len(dataset[index]["inputs"]) == 2
    (folder / LATIN).write_bytes(b"")
    assert dataset[index]["data_samples"].skipped_paths[0] == str(folder / LATIN)
    with pytest.raises(ValueError, match=r"caf\\udce9\.png is empty"):
        build(folder, test_mode=True)[index]


def test_a_list_may_have_them_too(folder):
    save(folder / LATIN)
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbfcaf\xe9.png\t3\r\n\r\na.png 1\r\n")
    dataset = build(folder, with_label=True, ann_file="list.txt")
    assert names_of(dataset) == [LATIN, "a.png"]
    assert dataset.get_gt_labels().tolist() == [3, 1]


# Images


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "is damaged, or no image"),
        (b"\x89PNG\r\n\x1a\n", "has a damaged header"),
        (b"\xff\xd8\xff\xe0", "is damaged, or no image"),
        (png(4, 4)[:-30], "is damaged, or no image"),
        (header_only(0, 0), "is damaged, or no image"),
        (header_only(50_000, 50_000), "has 50000 x 50000 pixels, more than max_pixels=178956970"),
        (header_only(10**9, 1), "has 1000000000 x 1 pixels, more than max_pixels"),
        (header_only(1, 2**31), "has 1 x 2147483648 pixels, more than max_pixels"),
        (
            b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0"
            b"\xff\xff\xff\xff\0\x02\x02\x44\x01\0;",
            "has more than max_pixels=178956970 pixels",
        ),
    ],
)
def test_unreadable_images_are_named_with_the_reason(folder, content, reason):
    (folder / "b.png").write_bytes(content)
    for pipeline in (VIEWS, [{**VIEWS[0], "ignore_empty": True}, *VIEWS[1:]]):
        sample = build(folder, pipeline)[1]["data_samples"]
        assert sample.img_path == str(folder / "a.png")
        assert sample.skipped_paths == [str(folder / "b.png")]
        assert reason in sample.skipped_reasons[0]
    with pytest.raises(ValueError, match=rf"1 consecutive image\(s\) .*b\.png {reason}"):
        build(folder, test_mode=True)[1]


@pytest.mark.skipif(not pillow_features.check("avif"), reason="Pillow has no AVIF")
def test_a_damaged_avif_is_skipped(folder):
    # Pillow raises RuntimeError of it, as of no other format.
    content = save(folder / "b.avif").read_bytes().replace(b"av01", b"xv01")
    (folder / "b.png").write_bytes(content)
    (folder / "b.avif").unlink()
    sample = build(folder, VIEWS)[1]["data_samples"]
    assert sample.skipped_reasons == ["has a damaged header"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "cannot be opened: No such file or directory"),
        (lambda path: path.mkdir(), "is no regular file"),
        (lambda path: os.mkfifo(path), "is no regular file"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.symlink_to(path.name), "cannot be opened: Too many levels"),
        (lambda path: os.truncate(save(path), 10**12), "has 1000000000000 bytes, more than"),
    ],
)
def test_files_are_looked_at_before_they_are_opened(tmp_path, make, reason):
    make(tmp_path / "c.png")
    assert reason in image_fault(tmp_path / "c.png")


def test_the_limit_of_pixels_can_be_lowered_and_lifted(folder):
    assert image_fault(folder / "a.png", 120) is None
    assert image_fault(folder / "a.png", 119) == "has 10 x 12 pixels, more than max_pixels=119"
    with pytest.raises(ValueError, match="max_pixels=119"):
        build(folder, test_mode=True, max_pixels=119)[0]
    (folder / "a.png").write_bytes(header_only(50_000, 50_000))
    assert image_fault(folder / "a.png", None) is None


def test_a_bomb_that_decodes_is_not_decoded(folder):
    side = int(MAX_PIXELS**0.5) + 1
    (folder / "b.png").write_bytes(png(side, 8)[:16] + struct.pack(">II", side, side) + b"\x01")
    with pytest.raises(ValueError, match=rf"b\.png has {side} x {side} pixels, more than"):
        build(folder, test_mode=True)[1]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_other_modes_are_read_in_colour(folder, mode):
    name = "c.jpg" if mode == "CMYK" else "c.png"
    if mode == "I;16":
        Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(folder / name)
    else:
        save(folder / name, mode)
    assert [view.shape for view in build(folder, VIEWS)[2]["inputs"]] == [(3, 8, 8)] * 2


@pytest.mark.parametrize(("width", "height"), [(1, 1), (10_000, 1), (1, 10_000)])
def test_tiny_and_long_images_are_read(folder, width, height):
    (folder / "c.png").write_bytes(png(width, height))
    assert [view.shape for view in build(folder, VIEWS)[2]["inputs"]] == [(3, 8, 8)] * 2


def test_a_file_that_vanishes_after_the_listing_is_skipped(folder):
    dataset = build(folder, VIEWS)
    (folder / "b.png").unlink()
    sample = dataset[1]["data_samples"]
    assert sample.skipped_reasons == ["cannot be opened: No such file or directory"]


def test_a_list_of_one_bad_file_over_and_over_ends(folder):
    (folder / "a.png").write_bytes(b"")
    (folder / "list.txt").write_text("a.png\n" * 5)
    with pytest.raises(ValueError, match=r"5 consecutive image\(s\) cannot be read"):
        build(folder, ann_file="list.txt")[0]


# Lists and arguments


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"list\.txt' lists no image"),
        ("\n \n", "lists no image"),
        ("a.png\n", r"Line 1 of .*list\.txt' is 'a\.png': expected 'file class'"),
        ("a.png 0\nb.png x\n", r"Line 2 .* is 'b\.png x'"),
        ("a.png -1\n", r"Line 1 .* is 'a\.png -1'.*integer, at least 0"),
        ("a.png 1.5\n", r"Line 1 .* is 'a\.png 1\.5'"),
        ("a.png 99999999999999999999\n", r"Line 1 .* is 'a\.png 999"),
        ("a.png \u0663\n", "Line 1"),
        ("a.png nan\n", "Line 1"),
        ("\n\n7\n", "Line 3 .* is '7'"),
        ("\0\1\n", r"Line 1 .* is '\\\\x00\\\\x01'"),
    ],
)
def test_invalid_lists_name_the_line(folder, text, message):
    (folder / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        build(folder, with_label=True, ann_file="list.txt")


def test_labels_beyond_the_classes_are_named(folder):
    (folder / "list.txt").write_text("a.png 0\nb.png 2\n")
    with pytest.raises(ValueError, match=r"Line 2 .* is 'b\.png 2'.*integer, 0 to 1, after"):
        build(folder, with_label=True, ann_file="list.txt", classes=["cat", "dog"])


@pytest.mark.parametrize("text", ["a.png 0\r\nb.png 1\r\n", "a.png\t0\n\n  b.png   1 \n", "\ufeff"])
def test_line_ends_tabs_and_blank_lines_are_accepted(folder, text):
    text = "\ufeffa.png 0\nb.png 1" if text == "\ufeff" else text
    (folder / "list.txt").write_bytes(text.encode())
    dataset = build(folder, with_label=True, ann_file="list.txt")
    assert names_of(dataset) == ["a.png", "b.png"]
    assert dataset.get_gt_labels().tolist() == [0, 1]


def test_names_with_spaces_and_tabs_are_kept(folder):
    save(folder / "my cat\t1.png")
    (folder / "list.txt").write_text("my cat\t1.png 4\n")
    dataset = build(folder, with_label=True, ann_file="list.txt")
    assert names_of(dataset) == ["my cat\t1.png"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 3}, ValueError, r"invalid every=3 of ImageFolder: .* has 2 image\(s\)"),
        ({"every": 1.5}, ValueError, r"invalid every=1\.5 of ImageFolder: expected an integer"),
        ({"every": -1}, ValueError, "invalid every=-1"),
        ({"extensions": ".png"}, TypeError, r"invalid extensions='\.png'.*\['\.png'\]"),
        ({"extensions": [".xyz"]}, FileNotFoundError, r"No image in .*extensions \.xyz"),
        ({"max_pixels": 0}, ValueError, "invalid max_pixels=0"),
        ({"max_pixels": 10**12}, ValueError, "invalid max_pixels=1000000000000"),
        ({"ann_file": "none.txt"}, FileNotFoundError, r"none\.txt' does not exist"),
        ({"data_prefix": "a.png"}, FileNotFoundError, r"a\.png' is no folder"),
        ({"data_prefix": "none"}, FileNotFoundError, "none' does not exist"),
        ({"with_label": True}, FileNotFoundError, "expected folder/class_name/image"),
    ],
)
def test_arguments_that_do_not_fit_the_folder(folder, options, error, message):
    with pytest.raises(error, match=message):
        build(folder, **options)


def test_a_dangling_link_as_the_folder_is_named(tmp_path):
    (tmp_path / "images").symlink_to("images")
    with pytest.raises(FileNotFoundError, match="images' is a link that leads nowhere"):
        build(tmp_path / "images")


def test_other_numbers_of_classes_and_folders_are_named(tmp_path):
    save(tmp_path / "cat" / "a.png")
    with pytest.raises(ValueError, match=r"got 2 classes, but .* has 1 folders"):
        build(tmp_path, with_label=True, classes=["cat", "dog"])
