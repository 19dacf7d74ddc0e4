"""A file is written completely or not at all."""

from __future__ import annotations

import pytest

from mmdino.utils.atomic_write import atomic_write


def test_no_half_written_file_stays(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"before")

    def fail():
        with atomic_write(path) as partial:
            partial.write_bytes(b"half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_made_and_the_suffix_kept(tmp_path):
    path = tmp_path / "new" / "a.png"
    with atomic_write(path) as partial:
        assert partial.suffix == ".png"
        partial.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]
