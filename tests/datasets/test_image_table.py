"""Lists of images as CSV and Parquet."""

from __future__ import annotations

import csv
import sys

import pytest
from mmengine.registry import DATASETS

from mmdino.datasets import image_table

NAMES = ["b.jpg", "deep/a, with comma.jpg", "deep/ünïcode.png"]
LABELS = ["dog", "cat", "dog"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "images"


def write(folder, suffix, columns):
    """Writes a table beside the folder."""
    path = folder.parent / f"list{suffix}"
    if suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
        parquet.write_table(pyarrow.table(columns), path)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writerows([[*columns], *zip(*columns.values(), strict=True)])
    return path


def build(folder, path, **options):
    return DATASETS.build(
        {"type": "mmdino.ImageFolder", "data_root": str(folder), "list": str(path), **options}
    )


def names_of(dataset, folder):
    paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
    return [path.removeprefix(f"{folder}/") for path in paths]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_says_which_images_with_which_labels(folder, suffix):
    path = write(folder, suffix, {"id": [1, 2, 3], "File": NAMES, "label": LABELS})
    dataset = build(folder, path, with_label=True)
    assert names_of(dataset, folder) == NAMES
    assert dataset.metainfo["classes"] == ("cat", "dog")
    assert dataset.get_gt_labels().tolist() == [1, 0, 1]
    without = build(folder, path)
    assert names_of(without, folder) == NAMES
    assert "gt_label" not in without.get_data_info(0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_may_be_indices_or_names_of_given_classes(folder, suffix):
    path = write(folder, suffix, {"path": NAMES, "class": [7, 0, 3]})
    assert build(folder, path, with_label=True).get_gt_labels().tolist() == [7, 0, 3]
    path = write(folder, suffix, {"path": NAMES, "class": LABELS})
    dataset = build(folder, path, with_label=True, classes=["dog", "bird", "cat"])
    assert dataset.get_gt_labels().tolist() == [0, 2, 0]


def test_columns_are_named_where_several_may_be_meant(folder):
    columns = {"path": NAMES[::-1], "image": NAMES, "label": LABELS, "class": [2, 1, 0]}
    path = write(folder, ".csv", columns)
    with pytest.raises(ValueError, match=r"more than one of path, image. Set path_column"):
        build(folder, path)
    with pytest.raises(ValueError, match=r"more than one of label, class. Set label_column"):
        build(folder, path, path_column="image", with_label=True)
    chosen = {"path_column": "image", "label_column": "class"}
    dataset = build(folder, path, with_label=True, **chosen)
    assert names_of(dataset, folder) == NAMES
    assert dataset.get_gt_labels().tolist() == [2, 1, 0]


def test_absolute_paths_in_the_folder_are_taken(folder):
    path = write(folder, ".csv", {"path": [str(folder / name) for name in NAMES]})
    assert names_of(build(folder, path), folder) == NAMES
    with pytest.raises(ValueError, match=r"Row 2 .* expected a path in the image folder"):
        build(folder / "deep", path)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"", {}, "is empty. Its first line has the names of the columns"),
        (b"path\n", {}, "has no row"),
        (b"name,size\na,1\n", {}, "no column of a usual name.*columns: name, size"),
        (b"path\nb.jpg\n", {"path_column": "x"}, "no column path_column='x'.*columns are: path"),
        (b"path\nb.jpg\n", {"with_label": True}, "no column of a usual name. Set label_column"),
        (b"path,label\nb.jpg\n", {}, r"Row 2 .* has 1 field\(s\), its header 2"),
        (b"path,path\nb.jpg,b.jpg\n", {}, "more than one column 'path'"),
        (b"path\nb.jpg\n../b.jpg\n", {}, "Row 3 .* expected a path in the image folder"),
        (b'path,label\n"",1\n', {}, "Row 2 .* has the path ''"),
        (b"path\nnowhere.jpg\n", {}, "1 of 1 files of the list .* nowhere.jpg"),
        ("path\nbärig.jpg\n".encode("latin-1"), {}, "is not UTF-8"),
        (b"path,label\nb.jpg,-1\n", {"with_label": True}, "the label '-1'.*at least 0"),
        (b"path,label\nb.jpg,1\nb.jpg,dog\n", {"with_label": True}, "the label 'dog'"),
        (b'path\n"b.jpg\n', {}, "Line 2 of the list .* is no CSV"),
    ],
)
def test_a_csv_that_cannot_be_used_is_refused(folder, text, options, message):
    path = folder.parent / "list.csv"
    path.write_bytes(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build(folder, path, **options)


def test_a_file_that_is_no_parquet_is_refused(folder):
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = folder.parent / "list.parquet"
    path.write_text("path\nb.jpg\n")
    with pytest.raises(ValueError, match="is no Parquet file"):
        build(folder, path)
    path = write(folder, ".parquet", {"path": [*NAMES, None]})
    with pytest.raises(ValueError, match=r"Row 4 .* has the path None"):
        build(folder, path)


def test_without_pyarrow_the_extra_is_named(folder, monkeypatch):
    path = folder.parent / "list.parquet"
    path.touch()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mmdino\[parquet\]"'):
        image_table.read_image_table(path, str(folder))


def test_columns_of_a_text_list_are_refused(folder):
    with pytest.raises(ValueError, match=r"only a list with the suffix .csv"):
        build(folder, folder / "list.txt", path_column="path")
