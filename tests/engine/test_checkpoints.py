"""Which checkpoint of a work dir a run goes on from."""

from __future__ import annotations

import re

import pytest
import torch

from mmdino.engine.checkpoints import POINTER, WRITTEN, checkpoint_to_resume, newest_checkpoint


def write(path, iteration, *, written=None, time=None, value=1.0, **changes):
    """Writes what the search looks at; a change of None leaves an entry out."""
    meta = {"iter": iteration, "epoch": 0}
    meta |= {} if written is None else {WRITTEN: float(written)}
    meta |= {} if time is None else {"time": time}
    content = {"meta": meta, "state_dict": {"w": torch.full((64,), value)}, "optimizer": {}}
    content |= changes
    torch.save({k: v for k, v in content.items() if v is not None}, path)


def test_it_is_the_one_written_last(tmp_path):
    write(tmp_path / "epoch_9.pth", 90, written=100)
    write(tmp_path / "epoch_2.pth", 20, written=300)
    write(tmp_path / "epoch_1.pth", 10, written=200)
    assert newest_checkpoint(tmp_path).found[:2] == (tmp_path / "epoch_2.pth", 20)
    assert newest_checkpoint(tmp_path, before=20).found.iteration == 10


def test_mmengines_own_checkpoints_are_ordered_too(tmp_path):
    write(tmp_path / "epoch_1.pth", 10, time="20260101_100000")
    write(tmp_path / "epoch_2.pth", 20, time="20260101_100000")
    write(tmp_path / "epoch_3.pth", 5, time="20250101_100000")
    write(tmp_path / "epoch_4.pth", 70, time="not a time")
    assert newest_checkpoint(tmp_path).found.iteration == 20


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x80\x3f" * 8) + 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize(
    "pointer", [None, "", "epoch_3.pth", "/no/such/epoch_9.pth", "epoch_2.pth"]
)
def test_a_damaged_one_is_named_and_the_one_before_is_taken(tmp_path, damage, pointer):
    for epoch in (1, 2, 3):
        write(tmp_path / f"epoch_{epoch}.pth", epoch, written=epoch)
    damage(tmp_path / "epoch_3.pth")
    if pointer is not None:
        (tmp_path / POINTER).write_text(pointer)
    search = checkpoint_to_resume(tmp_path)
    assert search.found.path == tmp_path / "epoch_2.pth"
    (reason,) = search.passed_over
    assert str(tmp_path / "epoch_3.pth") in reason
    assert re.search(r"epoch_2\.pth \(iteration 2\); passed over .*epoch_3\.pth", str(search))


def test_one_with_nan_is_passed_over(tmp_path):
    write(tmp_path / "iter_1.pth", 1, written=1)
    write(tmp_path / "iter_2.pth", 2, written=2, value=float("nan"))
    search = newest_checkpoint(tmp_path)
    assert search.found.iteration == 1
    assert "iter_2.pth: 1 tensor(s) with NaN or infinite values, the first is w" in str(search)


def test_other_weight_files_are_no_candidates(tmp_path):
    write(tmp_path / "best.pth", 9, written=9, optimizer=None)
    write(tmp_path / "backbone.pth", 9, written=9, meta=None)
    write(tmp_path / "odd.pth", 9, meta=[1])
    write(tmp_path / "odder.pth", "9", written=9)
    torch.save({"w": torch.ones(2)}, tmp_path / "plain.pth")
    (tmp_path / "folder.pth").mkdir()
    assert newest_checkpoint(tmp_path) == (None, [])
    write(tmp_path / "epoch_1.pth", 1, written=1)
    assert newest_checkpoint(tmp_path).found.iteration == 1


def test_finding_none_is_refused_with_what_was_there(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FileNotFoundError, match=r"nothing to resume in .*epoch_1\.pth.*--resume"):
        checkpoint_to_resume(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        checkpoint_to_resume(tmp_path / "no_such_folder")
