"""Which checkpoint of a work dir a run goes on from."""

from __future__ import annotations

import os
import re
import time

import pytest
import torch

from mmdino.engine.checkpoints import (
    POINTER,
    WRITTEN,
    checkpoint_to_resume,
    newest_checkpoint,
    next_time,
    write_pointer,
)


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
    "pointer",
    [
        None,
        "",
        "epoch_3.pth",
        "/no/such/epoch_9.pth",
        "epoch_2.pth",
        "\0\n",
        "x/" * 4000,
        "~/a.pth",
    ],
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
    torch.save({"w": torch.ones(2)}, tmp_path / "plain.pth")
    assert newest_checkpoint(tmp_path) == (None, [])
    write(tmp_path / "epoch_1.pth", 1, written=1)
    assert newest_checkpoint(tmp_path).found.iteration == 1


def test_finding_none_is_refused_with_what_was_there(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FileNotFoundError, match=r"nothing to resume in .*epoch_1\.pth.*--resume"):
        checkpoint_to_resume(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        checkpoint_to_resume(tmp_path / "no_such_folder")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to("nowhere.pth"), "does not exist"),
        (lambda path: path.symlink_to(path.name), "does not exist"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.mkdir(), "is no regular file"),
        (lambda path: write(path, "9", written=9), "its meta.iter is no number"),
        (lambda path: write(path, -1, written=9), "its meta.iter is no number"),
        (lambda path: write(path, True, written=9), "its meta.iter is no number"),
    ],
)
def test_what_is_no_checkpoint_but_named_like_one_is_told(tmp_path, make, reason):
    write(tmp_path / "epoch_1.pth", 1, written=1)
    make(tmp_path / "epoch_2.pth")
    search = newest_checkpoint(tmp_path)
    assert search.found.iteration == 1
    assert re.search(rf"passed over .*epoch_2\.pth.*{reason}", str(search))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_moments_that_are_not_finite_are_passed_over(tmp_path, value):
    write(tmp_path / "iter_1.pth", 1, written=1)
    state = {"state": {0: {"exp_avg_sq": torch.tensor([1.0, value])}}, "param_groups": []}
    write(tmp_path / "iter_2.pth", 2, written=2, optimizer=state)
    search = newest_checkpoint(tmp_path)
    assert search.found.iteration == 1
    assert "the first is optimizer.state.0.exp_avg_sq" in str(search)


def test_one_further_on_that_is_left_from_an_earlier_run_is_told(tmp_path):
    write(tmp_path / "epoch_9.pth", 90, written=100)
    write(tmp_path / "epoch_1.pth", 10, written=200)
    assert str(newest_checkpoint(tmp_path)) == (
        f"{tmp_path / 'epoch_1.pth'} (iteration 10); passed over {tmp_path / 'epoch_9.pth'}: "
        "iteration 90, but written earlier"
    )


def test_an_absolute_pointer_leads_elsewhere_only_from_an_empty_folder(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    copy.mkdir()
    write(original / "epoch_2.pth", 2, written=2)
    (copy / POINTER).write_text(str(original / "epoch_2.pth"))
    assert newest_checkpoint(copy).found.path == original / "epoch_2.pth"
    write(copy / "epoch_1.pth", 1, written=1)
    assert newest_checkpoint(copy).found.path == copy / "epoch_1.pth"


def test_the_next_one_is_later_whatever_the_clock_says(tmp_path):
    assert next_time(tmp_path) == pytest.approx(time.time(), abs=60)
    ahead = time.time() + 10**6
    write(tmp_path / "epoch_1.pth", 1, written=ahead)
    write(tmp_path / "epoch_2.pth", 2, written=float("nan"))
    assert ahead < next_time(tmp_path) < ahead + 1


def test_names_that_are_no_text_are_found_and_told(tmp_path):
    folder = tmp_path / os.fsdecode(b"o\xffut")
    folder.mkdir()
    (tmp_path / "run").mkdir()
    write(folder / "epoch_1.pth", 1, written=1)
    write_pointer(tmp_path / "run", folder / "epoch_1.pth")
    search = newest_checkpoint(tmp_path / "run")
    assert search.found.iteration == 1
    assert "o\\udcffut" in str(search)
    str(search).encode()
