"""Features of folders without labels."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmdino.curation.embedding import check_comparable, embed, open_embedded
from mmdino.curation.thumbnails import thumbnails
from mmdino.evaluation.bank_extraction import BankWriter
from mmdino.evaluation.extraction_options import ExtractionOptions

OPTIONS = ExtractionOptions(size=16, crop=16, batch_size=2, workers=0, dtype="float16")


@pytest.fixture
def folder(tmp_path):
    init_default_scope("mmpretrain")
    rng = np.random.default_rng(0)
    for number in range(7):
        path = tmp_path / "images" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(20, 20, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "empty.png").write_bytes(b"")
    return tmp_path / "images"


def embedded(folder, bank, options=OPTIONS, **more):
    return embed(thumbnails(options.crop), folder, bank, options, "the command", **more)


def test_an_interrupted_run_ends_as_an_undisturbed_one(folder, tmp_path, monkeypatch, capsys):
    whole = embedded(folder, tmp_path / "whole", part_size=3)
    write, written = BankWriter.write_part, []

    def interrupt_the_third(self, number, features):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, features)

    with monkeypatch.context() as patch:
        patch.setattr(BankWriter, "write_part", interrupt_the_third)
        with pytest.raises(KeyboardInterrupt):
            embedded(folder, tmp_path / "bank", part_size=3)
    with pytest.raises(ValueError, match="not finished"):
        open_embedded(tmp_path / "bank")
    capsys.readouterr()
    resumed = embedded(folder, tmp_path / "bank", part_size=3)
    assert "2 images; 6 are there from before" in capsys.readouterr().out
    np.testing.assert_array_equal(resumed.bank[:], whole.bank[:])
    assert resumed.names == whole.names
    assert resumed.unreadable == whole.unreadable == {"empty.png": "is empty"}


def test_rows_are_those_of_a_list_that_can_be_read(folder, tmp_path):
    found = embedded(folder, tmp_path / "bank")
    names = ["0/0.png", "0/2.png", "0/4.png", "0/6.png", "1/1.png", "1/3.png", "1/5.png"]
    assert [found.names[row] for row in found.rows()] == names
    listed = tmp_path / "list.txt"
    listed.write_text("1/5.png\nempty.png\n0/0.png\n")
    assert [found.names[row] for row in found.rows(listed)] == ["0/0.png", "1/5.png"]
    listed.write_text("empty.png\n")
    with pytest.raises(ValueError, match="all are unreadable"):
        found.rows(listed)


def test_a_list_says_what_is_embedded(folder, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("1/5.png\n0/0.png\n")
    found = embedded(folder, tmp_path / "bank", listed=str(listed))
    assert found.names == ["1/5.png", "0/0.png"]
    whole = embedded(folder, tmp_path / "whole")
    rows = [whole.names.index(name) for name in found.names]
    np.testing.assert_array_equal(found.bank[:], whole.bank[np.array(rows)])


def test_overwriting_forgets_what_could_not_be_read(folder, tmp_path):
    embedded(folder, tmp_path / "bank")
    Image.new("RGB", (20, 20)).save(folder / "empty.png")
    again = ExtractionOptions(**{**vars(OPTIONS), "overwrite": True})
    assert embedded(folder, tmp_path / "bank", again).unreadable == {}


def test_features_of_other_sizes_are_not_compared(folder, tmp_path):
    other = ExtractionOptions(size=32, crop=32, workers=0)
    first, second = embedded(folder, tmp_path / "a"), embedded(folder, tmp_path / "b", other)
    check_comparable(first, first)
    with pytest.raises(ValueError, match=r"different network_sha256, size, crop"):
        check_comparable(first, second)
