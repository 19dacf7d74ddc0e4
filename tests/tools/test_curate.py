"""Curation from the command line, from images to a list that is trained from."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tiny_run
import tiny_tools
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmdino.curation.embedding import open_embedded
from mmdino.curation.steps import calibrate
from mmdino.curation.thumbnails import thumbnails
from mmdino.datasets.image_list import read_image_list
from mmdino.evaluation.embedding import embed_images, images_of
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.stored_input import ImageInput

SIZES = ("--size", "32", "--crop", "32", "--workers", "0")
HALF = 12


def run(*arguments):
    """Runs the tool as the command line does."""
    tiny_tools.main_of("curate.py")([str(argument) for argument in arguments])


def picture(seed):
    """A smooth picture, so that copies of it remain similar."""
    small = np.random.default_rng(seed).integers(256, size=(6, 6, 3), dtype=np.uint8)
    return cv2.resize(small, (48, 48), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve pictures, of which four have a copy as JPEG, in folders, and one broken file."""
    root = tmp_path_factory.mktemp("images")
    (root / "b").mkdir()
    for number in range(HALF):
        assert cv2.imwrite(str(root / f"{number:02d}.png"), picture(number))
    for number in range(4):
        path = str(root / "b" / f"copy of {number:02d}.jpg")
        assert cv2.imwrite(path, picture(number), [cv2.IMWRITE_JPEG_QUALITY, 60])
    (root / "broken.png").write_bytes((root / "00.png").read_bytes()[:60])
    return root


@pytest.fixture(scope="module")
def bank(tmp_path_factory, images):
    """Thumbnails of the pictures."""
    path = tmp_path_factory.mktemp("bank") / "bank"
    run("embed", "pixels", images, path, *SIZES)
    return path


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Thumbnails of an evaluation set: pictures 1 and 40."""
    root = tmp_path_factory.mktemp("evaluation")
    (root / "test").mkdir()
    for number in (1, 40):
        assert cv2.imwrite(str(root / "test" / f"{number}.png"), picture(number))
    run("embed", "pixels", root / "test", root / "bank", *SIZES)
    return root / "bank"


def report_of(output):
    return json.loads((output / "report.json").read_text())


def dropped_of(output):
    lines = (output / "dropped.jsonl").read_text().splitlines()
    return {record.pop("image"): record for record in map(json.loads, lines)}


def test_a_broken_file_is_embedded_past_and_left_out(bank, tmp_path):
    embedded = open_embedded(bank)
    assert len(embedded.names) == HALF + 4
    assert list(embedded.unreadable) == ["broken.png"]
    run("dedup", bank, tmp_path, "--threshold", 0.99999)
    assert "broken.png" not in read_image_list(tmp_path / "images.txt")
    assert dropped_of(tmp_path)["broken.png"]["reason"].startswith("unreadable")


def test_copies_are_dropped_and_the_list_trains(bank, images, tmp_path, capsys):
    run("dedup", bank, tmp_path / "out", "--threshold", 0.9)
    printed = capsys.readouterr().out
    assert "64 neighbours are lowered to 15" in printed
    assert "12 of 16 images kept" in printed
    listed = tmp_path / "out" / "images.txt"
    assert read_image_list(listed) == [f"{number:02d}.png" for number in range(HALF)]
    dropped = dropped_of(tmp_path / "out")
    for number in range(4):
        record = dropped[f"b/copy of {number:02d}.jpg"]
        assert (record["reason"], record["kept"]) == ("near-duplicate", f"{number:02d}.png")
        assert record["similarity"] > 0.9
    report = report_of(tmp_path / "out")
    assert report["kept"] == 12
    assert report["dropped: near-duplicate"] == 4
    assert report["group sizes"] == {"2": 4}
    assert report["threshold"] == 0.9
    assert report["search"] == {"search": "exact"}
    for name in ("pairs.jpg", "groups.jpg", "similarities.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
        assert name in (tmp_path / "out" / "report.html").read_text()
    init_default_scope("mmpretrain")
    dataset = DATASETS.build(
        {
            "type": "mmdino.ImageFolder",
            "data_root": str(images),
            "list": str(listed),
            "pipeline": [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}],
        }
    )
    assert len(dataset) == 12
    assert dataset[11]["inputs"].shape == (3, 48, 48)


def test_the_largest_file_can_be_what_stays(bank, images, tmp_path):
    run("dedup", bank, tmp_path, "--threshold", 0.9, "--keep", "largest")
    kept = set(read_image_list(tmp_path / "images.txt"))
    for number in range(4):
        pair = [f"{number:02d}.png", f"b/copy of {number:02d}.jpg"]
        assert max(pair, key=lambda name: (images / name).stat().st_size) in kept
        assert len(kept & set(pair)) == 1


def test_a_file_that_is_gone_is_not_the_largest(bank, images, tmp_path, capsys):
    (images / "02.png").rename(tmp_path / "02.png")
    try:
        run("dedup", bank, tmp_path / "out", "--threshold", 0.9, "--keep", "largest")
    finally:
        (tmp_path / "02.png").rename(images / "02.png")
    assert "1 image(s) of groups are no longer in" in capsys.readouterr().out
    assert "b/copy of 02.jpg" in read_image_list(tmp_path / "out" / "images.txt")
    assert dropped_of(tmp_path / "out")["02.png"]["kept"] == "b/copy of 02.jpg"


def test_members_of_shards_have_no_files_to_compare(images, tmp_path):
    init_default_scope("mmpretrain")
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "train-0.tar", "w") as archive:
        for name in ("00.png", "01.png"):
            archive.add(images / name, name)
    options = ExtractionOptions(size=32, crop=32, workers=0)
    shards = images_of(tmp_path / "shards", options)
    embed_images(thumbnails(32), shards, tmp_path / "bank", options, "the command")
    command = ("dedup", tmp_path / "bank", tmp_path / "out", "--threshold", 0.9)
    with pytest.raises(ValueError, match=r"in tar shards, such as train-0\.tar: .*--keep largest"):
        run(*command, "--keep", "largest")
    run(*command)
    assert len(read_image_list(tmp_path / "out" / "images.txt")) == 2


def test_groups_with_an_evaluation_image_are_dropped_whole(bank, evaluation, tmp_path):
    run("dedup", bank, tmp_path, "--threshold", 0.9, "--against", evaluation)
    kept = read_image_list(tmp_path / "images.txt")
    assert len(kept) == 11
    assert not {"01.png", "b/copy of 01.jpg"} & set(kept)
    record = dropped_of(tmp_path)["01.png"]
    assert record["reason"] == "near-duplicate of an evaluation image"
    assert record["evaluation image"] == "1.png"
    assert report_of(tmp_path)["dropped: evaluation image"] == 2
    assert (tmp_path / "evaluation_0.jpg").is_file()
    command = ("--threshold", 0.9, "--against", evaluation, "--against-threshold", 0.999999)
    run("dedup", bank, tmp_path, *command)
    assert report_of(tmp_path)["evaluation threshold"] == 0.999999


def test_steps_follow_each_other_by_their_lists(bank, evaluation, tmp_path, capsys):
    run("dedup", bank, tmp_path / "unique", "--threshold", 0.9)
    unique = tmp_path / "unique" / "images.txt"
    run("retrieve", bank, evaluation, tmp_path / "near", "--per-seed", 1, "--list", unique)
    assert "01.png" in read_image_list(tmp_path / "near" / "images.txt")
    assert report_of(tmp_path / "near")["considered"] == 12
    command = ("--clusters", 3, "--images", 6, "--list", unique)
    run("balance", bank, tmp_path / "balanced", *command)
    drawn = read_image_list(tmp_path / "balanced" / "images.txt")
    assert len(drawn) == 6
    assert set(drawn) <= set(read_image_list(unique))
    run("balance", bank, tmp_path / "again", *command)
    assert read_image_list(tmp_path / "again" / "images.txt") == drawn
    clusters = ("--clusters", 2, "--min-seeds", 1, "--per-cluster", 3)
    run("retrieve", bank, evaluation, tmp_path / "clusters", *clusters)
    assert 1 <= len(read_image_list(tmp_path / "clusters" / "images.txt")) <= 6
    for picture_of in ("near/retrieved.jpg", "balanced/clusters.jpg", "clusters/retrieved.jpg"):
        assert (tmp_path / picture_of).stat().st_size > 1000


@pytest.mark.parametrize(
    ("command", "picture"),
    [
        ("dedup {bank} {out} --threshold 0.9", "pairs.jpg"),
        ("retrieve {bank} {bank} {out}", "retrieved.jpg"),
        ("balance {bank} {out} --clusters 2 --images 4", "clusters.jpg"),
    ],
)
def test_lists_are_there_before_the_pictures(bank, tmp_path, command, picture):
    (tmp_path / picture).mkdir()  # so that the picture cannot be written
    with pytest.raises(IsADirectoryError):
        run(*command.format(bank=bank, out=tmp_path).split())
    kept = read_image_list(tmp_path / "images.txt")
    assert report_of(tmp_path)["kept"] == len(kept) > 0


def test_a_calibration_suggests_the_threshold_that_is_used(images, bank, tmp_path, capsys):
    clean = tmp_path / "clean"
    shutil.copytree(images, clean, ignore=shutil.ignore_patterns("b", "broken.png"))
    run("calibrate", "pixels", clean, tmp_path / "calibration", *SIZES)
    printed = capsys.readouterr().out
    assert "1000 originals are lowered to 12" in printed
    assert "suggested threshold 0." in printed
    report = report_of(tmp_path / "calibration")
    best = report["at the suggested threshold"]
    assert best["precision"] == 1
    assert best["by_alteration"]["JPEG quality 50"] == 1
    run("dedup", bank, tmp_path / "out", "--calibration", tmp_path / "calibration")
    used = report_of(tmp_path / "out")
    assert used["threshold"] == best["threshold"]
    assert "precision 0.99 on 12 planted copies" in used["source of the threshold"]
    run("embed", "pixels", clean, tmp_path / "other", "--size", 16, "--crop", 16, "--workers", 0)
    with pytest.raises(ValueError, match=r"calibrated for other .* network_sha256, size, crop"):
        run(
            "dedup", tmp_path / "other", tmp_path / "out", "--calibration", tmp_path / "calibration"
        )


def test_a_second_calibration_uses_nothing_of_other_images(images, tmp_path, capsys):
    """The first is of pictures 5 to 11; the second of all, and of a broken file."""
    few, out = tmp_path / "few", tmp_path / "out"
    few.mkdir()
    for number in range(5, HALF):
        shutil.copy(images / f"{number:02d}.png", few)
    number = ("--images", HALF + 5)
    run("calibrate", "pixels", few, out, *number, *SIZES)
    first = report_of(out)
    capsys.readouterr()
    run("calibrate", "pixels", few, out, *number, *SIZES)
    printed = capsys.readouterr().out
    assert "a copy of each of 7 images is there already" in printed
    assert "the features of 14 images are there already" in printed
    assert report_of(out) == first
    run("calibrate", "pixels", images, out, *number, *SIZES)
    assert "1 image(s) cannot be read and are left out" in capsys.readouterr().out
    run("calibrate", "pixels", images, tmp_path / "fresh", *number, *SIZES)
    second, fresh = report_of(out), report_of(tmp_path / "fresh")
    assert (second["originals"], second["unreadable"]) == (HALF + 4, 1)
    assert second["thresholds"] == fresh["thresholds"]


def test_copies_count_whatever_the_extension_of_the_originals(images, tmp_path):
    clean, options = tmp_path / "bmp", ExtractionOptions(size=32, crop=32, workers=0)
    clean.mkdir()
    for number in range(HALF):
        cv2.imwrite(str(clean / f"{number}.bmp"), picture(number))
    (clean / "notes.png").touch()
    network = thumbnails(32)
    network = replace(network, image_input=replace(network.image_input, extensions=(".bmp",)))
    numbers = calibrate(network, clean, tmp_path / "out", options, "the command")
    assert (numbers["originals"], numbers["unreadable"]) == (HALF, 0)
    assert numbers["at the suggested threshold"]["by_alteration"]["JPEG quality 50"] == 1


@pytest.mark.parametrize(
    "load",
    [
        {"type": "LoadImageFromFile", "color_type": "unchanged"},
        {"type": "mmdino.LoadImage", "reader": "mmdino.read_tiff", "channels": 3},
    ],
)
def test_a_network_for_other_images_than_of_8_bits_is_not_calibrated(images, tmp_path, load):
    network = replace(thumbnails(32), image_input=ImageInput(load=load))
    with pytest.raises(ValueError, match=r"images of 8 bits.* Set --threshold of dedup by hand"):
        calibrate(network, images, tmp_path / "out", ExtractionOptions(), "the command")
    assert not (tmp_path / "out").exists()


def test_any_checkpoint_embeds_and_an_interrupted_run_goes_on(
    images, tmp_path, monkeypatch, capsys
):
    torch.manual_seed(0)
    checkpoint = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": MODELS.build(tiny_run.vit_model()).state_dict()}, checkpoint)
    command = ("embed", checkpoint, images, tmp_path / "bank", *SIZES, "--num-heads", "2")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmdino.evaluation.bank_extraction.BankWriter.write_part", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(*command)
    with pytest.raises(ValueError, match=r"The same command resumes it: .*curate\.py embed"):
        run("dedup", tmp_path / "bank", tmp_path / "out", "--threshold", 0.9)
    capsys.readouterr()
    run(*command)
    run(*command)
    printed = capsys.readouterr().out
    assert "16 features of 12 numbers; 1 image(s) cannot be read" in printed
    assert "the features of 16 images are there already" in printed
    assert list(open_embedded(tmp_path / "bank").unreadable) == ["broken.png"]


def test_a_run_trains_from_the_list(tmp_path):
    tiny_tools.write_configs(tmp_path)
    tiny_tools.write_images(tmp_path)
    run("embed", "pixels", tmp_path / "images", tmp_path / "bank", *SIZES)
    run("balance", tmp_path / "bank", tmp_path / "out", "--clusters", 2, "--images", 4)
    listed = tmp_path / "out" / "images.txt"
    work = tmp_path / "work"
    tiny_tools.main_of("train.py")(
        [
            *(str(tmp_path / "folder.py"), "--work-dir", str(work), "--cfg-options"),
            f"train_dataloader.dataset.list={listed}",
        ]
    )
    used = next(work.glob("*.py")).read_text()
    assert str(listed) in used
    assert list(work.glob("epoch_*.pth"))
