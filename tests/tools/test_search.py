"""tools/search.py from the command line: the table, its files and the picture."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import tiny_tools
from PIL import Image


@pytest.fixture(scope="module")
def bank(images, tmp_path_factory):
    """Features of a copy of the images, from which one image is then removed."""
    root = tmp_path_factory.mktemp("search")
    shutil.copytree(images, root / "images")
    sizes = ["--size", "32", "--crop", "32", "--workers", "0"]
    arguments = ["embed", "pixels", str(root / "images"), str(root / "bank"), *sizes]
    tiny_tools.main_of("curate.py")(arguments)
    (root / "images" / "dark" / "7.png").unlink()
    return root / "bank"


def search(*arguments):
    tiny_tools.main_of("search.py")([str(argument) for argument in arguments])


def test_neighbours_are_printed_written_and_drawn(bank, images, tmp_path, capsys):
    table, record, figure = (tmp_path / f"found.{suffix}" for suffix in ("csv", "json", "png"))
    query = images / "dark" / "3.png"
    search(bank, query, "--k", 16, "--csv", table, "--json", record, "--figure", figure)
    printed = capsys.readouterr().out
    assert f"{query}\n  rank   score  image\n     1   1.000  dark/3.png\n" in printed
    assert "1 of these images are not in" in printed
    assert "dark/7.png" in printed
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 16
    assert rows[0]["image"] == "dark/3.png"
    assert rows[0]["query"] == str(query)
    assert float(rows[0]["score"]) == pytest.approx(1)
    neighbours = json.loads(record.read_text())["neighbours"]
    assert [each["image"] for each in neighbours] == [row["image"] for row in rows]
    assert Image.open(figure).width == 1156


def test_a_picture_that_would_be_too_long_shows_the_first(
    bank, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("mmdino.curation.image_search.TILES_IN_PICTURE", 16)
    queries, table, figure = images / "dark", tmp_path / "found.csv", tmp_path / "found.jpg"
    search(bank, queries, "--k", 8, "--csv", table, "--figure", figure)
    assert f"{figure} shows the first 1 of 8 neighbours" in capsys.readouterr().out
    assert len(list(csv.DictReader(table.open()))) == 64


def test_tables_are_written_before_the_picture(bank, images, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("broken data stream when writing image file")

    monkeypatch.setattr("mmdino.curation.pictures.draw_strips", fail)
    table, record = tmp_path / "found.csv", tmp_path / "found.json"
    for asked in ([images / "dark" / "3.png"], ["--duplicates"]):
        files = ("--csv", table, "--json", record, "--figure", tmp_path / "found.jpg")
        with pytest.raises(OSError, match="broken data stream"):
            search(bank, *asked, *files)
        table.unlink()
        record.unlink()


def test_duplicates_are_printed_written_and_drawn(bank, tmp_path, capsys):
    table, figure = tmp_path / "pairs.csv", tmp_path / "pairs.jpg"
    search(bank, "--duplicates", "--pairs", 3, "--csv", table, "--figure", figure)
    assert "The 3 most similar pairs of 16 images" in capsys.readouterr().out
    assert next(csv.DictReader(table.open()))["group"] == "1"
    assert Image.open(figure).width == 1156
    search(bank, "--duplicates", "--threshold", 0.999)
    assert "0 pairs in 0 groups above 0.9990 (--threshold)" in capsys.readouterr().out


def test_a_table_that_lacks_pairs_says_so(bank, monkeypatch, capsys):
    monkeypatch.setattr("mmdino.curation.image_search.NEIGHBOURS", 2)
    monkeypatch.setattr("mmdino.curation.image_search.MANY_PAIRS", 1)
    search(bank, "--duplicates", "--threshold", -0.999)
    assert "there are more: of each image only the 2 nearest were" in capsys.readouterr().out
