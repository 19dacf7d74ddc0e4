"""A bank is complete or none, wherever its making was interrupted."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mmdino.evaluation import feature_bank
from mmdino.evaluation.feature_bank import FeatureBank, check_pair, open_bank, start_bank

COMMAND = "python tools/extract_features.py a.pth images bank"
FEATURES = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
LABELS = np.arange(11) % 2
PLAN = {
    "checkpoint": "a.pth",
    "network_sha256": "0" * 64,
    "network": "teacher",
    "size": 256,
    "crop": 224,
    "amp": False,
    "dtype": "float32",
    "source": "images/train",
    "files_sha256": "1" * 64,
    "images": 11,
    "classes": ["cat", "dog"],
}


def make(folder, overwrite=False, features=FEATURES, **changes):
    """Makes a bank in parts of four images, or resumes it."""
    bank = start_bank(folder, PLAN | changes, COMMAND, overwrite, part_size=4)
    if isinstance(bank, FeatureBank):
        return bank
    for number, images in bank.missing_parts().items():
        bank.write_part(number, features[images.start : images.stop])
    return bank.finish(LABELS)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_written_is_read(tmp_path):
    bank = make(tmp_path / "bank")
    assert (len(bank), bank.width, bank.classes) == (11, 3, ["cat", "dog"])
    assert bank.plan == PLAN
    np.testing.assert_array_equal(bank[:], FEATURES)
    np.testing.assert_array_equal(bank[np.array([9, 2])], FEATURES[[9, 2]])
    np.testing.assert_array_equal(bank.labels, LABELS)
    assert sorted(files_of(tmp_path / "bank")) == ["bank.json", "features.npy", "labels.npy"]


def test_half_precision_is_saved_and_refused_if_features_are_too_large(tmp_path):
    bank = make(tmp_path / "bank", dtype="float16")
    np.testing.assert_array_equal(bank[:], FEATURES.astype(np.float16))
    with pytest.raises(ValueError, match=r"too large for float16.*--dtype float32"):
        make(tmp_path / "other", features=FEATURES * 1e5, dtype="float16")
    with pytest.raises(ValueError, match=r"a\.pth are not finite"):
        make(tmp_path / "third", features=FEATURES * np.nan)


class PowerFailure(Exception):
    """Stands in for it."""


@pytest.fixture
def stop_at(monkeypatch):
    """Makes the n-th rename fail, with the new content written beside the file."""

    def stop(number):
        calls = iter(range(1000))
        replace = os.replace

        def failing(source, target):
            if next(calls) == number:
                raise PowerFailure
            replace(source, target)

        monkeypatch.setattr(feature_bank.os, "replace", failing)

    return stop


# The renames: plan.json, three parts, features.npy, labels.npy, bank.json.
@pytest.mark.parametrize("number", range(7))
def test_interrupted_anywhere_it_is_no_bank_and_then_equals_an_uninterrupted_one(
    tmp_path, stop_at, monkeypatch, number
):
    folder = tmp_path / "bank"
    stop_at(number)
    with pytest.raises(PowerFailure):
        make(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=r"not finished|no feature bank"):
        open_bank(folder)
    monkeypatch.undo()
    make(folder)
    make(tmp_path / "whole")
    assert files_of(folder) == files_of(tmp_path / "whole")


def test_an_interrupted_bank_names_the_command_that_finishes_it(tmp_path, stop_at):
    stop_at(2)
    with pytest.raises(PowerFailure):
        make(tmp_path)
    with pytest.raises(ValueError, match=f"not finished. The same command.*{COMMAND}"):
        open_bank(tmp_path)


def test_only_parts_that_are_missing_or_damaged_are_made_again(tmp_path, stop_at, monkeypatch):
    stop_at(4)
    with pytest.raises(PowerFailure):
        make(tmp_path)
    monkeypatch.undo()
    start = lambda: start_bank(tmp_path, PLAN, COMMAND, part_size=4)  # noqa: E731
    assert start().missing_parts() == {}
    parts = sorted(tmp_path.glob("part_*.npy"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1])
    assert start().missing_parts() == {0: range(4)}
    parts[1].unlink()
    parts[2].write_bytes(b"")
    assert start().missing_parts() == {0: range(4), 1: range(4, 8), 2: range(8, 11)}
    np.testing.assert_array_equal(make(tmp_path)[:], FEATURES)


@pytest.mark.parametrize("finished", [True, False])
def test_a_bank_of_something_else_is_kept_until_told_otherwise(
    tmp_path, stop_at, monkeypatch, finished
):
    stop_at(99 if finished else 3)
    if finished:
        make(tmp_path)
    else:
        with pytest.raises(PowerFailure):
            make(tmp_path)
    monkeypatch.undo()
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=r"size is 256 there, 32 now.*--overwrite"):
        make(tmp_path, size=32)
    with pytest.raises(ValueError, match=r"b\.pth' now; network_sha256 is '0000"):
        make(tmp_path, checkpoint="b.pth", network_sha256="2" * 64)
    assert files_of(tmp_path) == before
    assert make(tmp_path, overwrite=True, size=32).plan["size"] == 32


def test_the_same_command_goes_on_with_overwrite_too(tmp_path, stop_at, monkeypatch):
    make(tmp_path, size=32)
    stop_at(3)
    with pytest.raises(PowerFailure):
        make(tmp_path, overwrite=True)
    monkeypatch.undo()
    first = (tmp_path / "part_000000.npy").stat().st_mtime_ns
    start = lambda **changes: start_bank(tmp_path, PLAN | changes, COMMAND, True, 4)  # noqa: E731
    assert list(start(checkpoint="renamed.pth").missing_parts()) == [2]
    assert (tmp_path / "part_000000.npy").stat().st_mtime_ns == first
    assert list(start(size=64).missing_parts()) == [0, 1, 2]


def test_overwriting_replaces_what_it_did_not_start_or_has_finished(tmp_path, stop_at, monkeypatch):
    stop_at(3)
    with pytest.raises(PowerFailure):
        make(tmp_path)
    monkeypatch.undo()
    for _ in range(2):
        again = start_bank(tmp_path, PLAN, COMMAND, overwrite=True, part_size=4)
        assert list(again.missing_parts()) == [0, 1, 2]
        make(tmp_path, overwrite=True)
    start_bank(tmp_path, PLAN, COMMAND, overwrite=True)
    (tmp_path / "plan.json").write_text("{")
    np.testing.assert_array_equal(make(tmp_path, overwrite=True)[:], FEATURES)


def test_a_complete_bank_is_not_made_again(tmp_path):
    make(tmp_path)
    again = make(tmp_path, checkpoint="renamed.pth", features=None)
    np.testing.assert_array_equal(again[:], FEATURES)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    for overwrite in (True, False):
        with pytest.raises(ValueError, match="holds files that are no feature bank"):
            make(tmp_path, overwrite)
    assert list(files_of(tmp_path)) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("features.npy", lambda content: content[:-1], "features.npy is cut short"),
        ("features.npy", None, "features.npy is missing"),
        ("labels.npy", lambda content: content[:40], "labels.npy is cut short"),
        ("bank.json", lambda content: content[:40], "bank.json is damaged"),
    ],
)
def test_a_damaged_bank_is_not_read(tmp_path, name, damage, message):
    make(tmp_path)
    path = tmp_path / name
    path.unlink() if damage is None else path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        open_bank(tmp_path)


def test_features_of_another_bank_are_noticed(tmp_path):
    make(tmp_path)
    np.save(tmp_path / "features.npy", FEATURES[:5])
    with pytest.raises(ValueError, match=r"has shape \(5, 3\) instead of \(11, 3\)"):
        open_bank(tmp_path)


def test_no_bank_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no feature bank in .*mmdino embed"):
        open_bank(tmp_path / "nowhere")


def test_pairs_must_be_of_one_network_and_the_same_classes(tmp_path):
    train = make(tmp_path / "train")
    check_pair(train, make(tmp_path / "test", source="images/test"))
    with pytest.raises(ValueError, match=r"crop is 224 the first, 192 the second"):
        check_pair(train, make(tmp_path / "crop", source="images/test", crop=192))
    with pytest.raises(ValueError, match=r"network_sha256 is '000.* the second"):
        check_pair(train, make(tmp_path / "net", source="test", network_sha256="2" * 64))
    with pytest.raises(ValueError, match=r"1 only in .*train \(dog\); 1 only in .*fox \(fox\)"):
        check_pair(train, make(tmp_path / "fox", source="test", classes=["cat", "fox"]))


def test_a_bank_is_not_tested_on_its_own_images(tmp_path):
    train = make(tmp_path / "train")
    with pytest.raises(ValueError, match="of the same images: each would find itself"):
        check_pair(train, train)
