"""Images in tar files."""

from __future__ import annotations

import io
import json
import logging
import os
import tarfile

import cv2
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from mmengine.fileio import get, get_text
from mmengine.registry import DATASETS
from torch.utils.data import DataLoader

from mmdino.datasets import EpochSampler, tar_index, tar_shards
from mmdino.datasets.samplers import SeededIndex
from mmdino.datasets.tar_shards import expand_braces

PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "mmdino.MultiCropTransform", "views": [{"num": 2, "size": 8, "scale": (0.2, 1.0)}]},
    {"type": "mmdino.PackViews"},
]
EACH = 4


def png(seed):
    image = np.random.default_rng(seed).integers(256, size=(12, 10, 3), dtype=np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def write_tar(path, members, **options):
    with tarfile.open(path, "w", **options) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def members_of(shard):
    """Four samples; the third of the first shard is damaged."""
    for i in range(EACH * shard, EACH * (shard + 1)):
        yield f"part/{i:04d}.json", b"{}"
        yield f"part/{i:04d}.png", png(i) if i != 2 else b"no image"
        yield f"part/{i:04d}.cls", str(i % 2).encode()


@pytest.fixture
def shards(tmp_path):
    for shard in range(3):
        write_tar(tmp_path / f"train-{shard:02d}.tar", members_of(shard))
    return tmp_path


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(tar_shards, "print_log", lambda text, *more: lines.append(text))
    return lines


def build(folder, shards="train-{00..02}.tar", **options):
    return DATASETS.build(
        {
            "type": "mmdino.TarShards",
            "data_root": str(folder),
            "shards": shards,
            "pipeline": PIPELINE,
            **options,
        }
    )


def names_of(dataset):
    return [dataset.get_data_info(i)["img_path"].rpartition("/")[2] for i in range(len(dataset))]


def views_of(dataset, start=0, workers=0):
    """All views of an epoch, from an image on."""
    sampler = EpochSampler(dataset, seed=5)
    sampler.set_epoch(1)
    sampler.set_start(start)
    loader = DataLoader(dataset, 2, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate)
    return [np.stack(batch["inputs"][0]) for batch in loader]


def test_views_are_those_of_a_folder_and_go_on_after_an_interruption(shards, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for shard in range(3):
        for name, content in members_of(shard):
            if name.endswith("png"):
                (images / os.path.basename(name)).write_bytes(content)
    dataset = build(shards)
    folder = DATASETS.build(
        {"type": "mmdino.ImageFolder", "data_root": str(images), "pipeline": PIPELINE}
    )
    assert names_of(dataset) == names_of(folder)
    whole = views_of(dataset)
    assert len(whole) == 3 * EACH // 2
    np.testing.assert_array_equal(whole, views_of(folder))
    # A new process, which reads the index, and workers.
    np.testing.assert_array_equal(whole[2:], views_of(build(shards), start=4, workers=2))


def test_labels_wildcards_and_what_folders_have_too(shards):
    dataset = build(shards, "train-*.tar", with_label=True)
    assert dataset.get_gt_labels().tolist() == [0, 1] * 6
    assert names_of(build(shards, every=5)) == ["0000.png", "0005.png", "0010.png"]
    held_out = names_of(build(shards, hold_out=3, held_out=True))
    assert sorted([*held_out, *names_of(build(shards, hold_out=3))]) == names_of(dataset)


def test_a_folder_may_have_a_name_like_a_pattern(tmp_path):
    folder = tmp_path / "run[1]*"
    folder.mkdir()
    write_tar(folder / "a.tar", [("0.png", png(0))])
    assert len(build(folder, "*.tar")) == len(build("", str(folder / "a.tar"))) == 1


def test_an_unreadable_member_is_replaced_by_the_next_and_noted(shards):
    dataset = build(shards)
    sample = dataset[SeededIndex(2, (0, 0, 2))]
    assert sample["data_samples"].img_path.endswith("/part/0003.png")
    assert sample["data_samples"].skipped_paths[0].endswith("/part/0002.png")
    with pytest.raises(ValueError, match=r"0002\.png is damaged, or no image"):
        build(shards, test_mode=True)[2]


def test_empty_and_enormous_members_are_not_decoded(tmp_path):
    write_tar(tmp_path / "a.tar", [("0.png", b""), ("1.png", png(0))])
    assert "is empty" in build(tmp_path, "a.tar")[0]["data_samples"].skipped_reasons
    with pytest.raises(ValueError, match="has 10 x 12 pixels"):
        build(tmp_path, "a.tar", max_pixels=100)[1]


def test_the_address_of_a_sample_is_read_by_mmengine(shards):
    address = build(shards).get_data_info(1)["img_path"]
    assert get(address) == png(1)
    assert get_text(build(shards, extensions=[".json"]).get_data_info(0)["img_path"]) == "{}"
    with pytest.raises(ValueError, match="is no address"):
        get("tar://train-00.tar")


def test_shards_are_read_through_once(shards, monkeypatch):
    first = names_of(build(shards))
    assert sorted(path.name for path in shards.glob("*.json")) == [
        f"train-{i:02d}.tar.index.json" for i in range(3)
    ]
    monkeypatch.setattr(tar_shards, "index_tar", None)
    assert names_of(build(shards)) == first


def test_the_index_may_lie_elsewhere(shards, tmp_path):
    build(shards, index_dir=str(tmp_path / "index"))
    assert len(list((tmp_path / "index").iterdir())) == 3
    assert not list(shards.glob("*.json"))
    (shards / "more").mkdir()
    write_tar(shards / "more" / "train-00.tar", members_of(0))
    with pytest.raises(ValueError, match=r"More than one shard has the name 'train-00.tar'"):
        build(shards, ["*.tar", "more/*.tar"], index_dir=str(tmp_path / "index"))


def test_where_no_index_can_be_written_that_is_said(shards, monkeypatch, logged):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tar_index.tempfile, "mkstemp", refuse)
    assert len(build(shards)) == 3 * EACH
    assert "index of 3 of 3 shards cannot be written" in logged[0]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": 0}', "\x00"])
def test_a_damaged_index_is_made_anew(shards, content):
    first = names_of(build(shards))
    path = shards / "train-01.tar.index.json"
    path.write_text(content)
    assert names_of(build(shards)) == first
    assert json.loads(path.read_text())["version"] == tar_index.VERSION


def test_changed_shards_are_noticed(shards, logged):
    dataset = build(shards)
    write_tar(shards / "train-01.tar", members_of(7))
    assert dataset[0]["data_samples"].img_path.endswith("0000.png")
    with pytest.raises(RuntimeError, match=r"train-01.tar' was changed or removed since the run"):
        dataset[EACH]
    assert names_of(build(shards))[EACH] == "0028.png"
    assert len(logged) == 1
    assert "has changed since it was indexed" in logged[0]


def test_names_of_any_kind(tmp_path):
    long = "x" * 120
    names = [f"{long}/{long}.png", "ü ?5+7/b.PNG", "no\nline.png", "a.b.c/0.png", "bad\udcff.png"]
    others = [".hidden", "README", "__meta__/"]
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        content = [(name, png(1)) for name in names] + [(name, b"x") for name in others]
        write_tar(tmp_path / "a.tar", content, format=kind)
        dataset = build(tmp_path, "a.tar")
        found = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
        assert [path.partition("/a.tar?")[2].partition("/")[2] for path in found] == names
        assert all(get(path) == png(1) for path in found)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ([("0.json", b"")], {}, r"No image in 1 shard\(s\)"),
        ([("0.l.png", png(0)), ("0.r.png", png(0))], {}, r"2 images.* Set field .* l\.png, r\.png"),
        ([("0.png", png(0))], {"with_label": True}, "'0.png' .* has no member KEY.cls"),
        ([("0.png", png(0)), ("0.cls", b"dog")], {"with_label": True}, "has the label 'dog'"),
        ([("0.png", png(0)), ("0.cls", b"2")], {"with_label": True, "classes": "ab"}, "0 to 1"),
        ([("0.png", png(0))], {"shards": "b.tar"}, "No shard .*b.tar'.*Set data_root and shards"),
        ([("0.png", png(0))], {"shards": "{a,b}.tar"}, "No shard .*b.tar"),
        ([("0.png", png(0))], {"shards": ["a.tar", "*.tar"]}, "the shard .*a.tar' twice"),
        ([("0.png", png(0))], {"shards": "s3://bucket/a.tar"}, "reads files alone"),
        ([("0.png", png(0))], {"list": "a.txt"}, "list='a.txt', which is for folders"),
        ([("0.png", png(0))], {"every": 2}, "invalid every=2 of TarShards"),
    ],
)
def test_shards_that_cannot_be_used_are_refused(tmp_path, members, options, message):
    write_tar(tmp_path / "a.tar", members)
    if options.get("classes"):
        options = {**options, "classes": [*options["classes"]]}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build(tmp_path, **{"shards": "a.tar", **options})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:700], "damaged, incomplete, or no tar file"),
        (lambda content: content[:600], "damaged, incomplete, or no tar file"),
        (lambda content: b"<html>", "damaged, incomplete, or no tar file"),
        (lambda content: b"\x1f\x8b" + content, r"is compressed \(gzip\)"),
    ],
)
def test_damaged_shards_are_named(tmp_path, change, message):
    path = tmp_path / "a.tar"
    write_tar(path, [("0.png", png(0)), ("1.png", png(1))])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"a\.tar' .*{message}|a\.tar' {message}"):
        build(tmp_path, "a.tar")


def test_one_of_several_images_of_a_sample(tmp_path, logged):
    content = [("0.l.png", png(0)), ("0.r.png", png(1)), ("1.r.png", png(2))]
    write_tar(tmp_path / "a.tar", content)
    dataset = build(tmp_path, "a.tar", field="l.png")
    assert names_of(dataset) == ["0.l.png"]
    assert "1 of 2 samples in 1 shard(s) have no image" in logged[0]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
    ],
)
def test_braces_are_expanded_as_by_shells(pattern, names):
    assert expand_braces(pattern) == names


def test_progress_is_logged(shards, monkeypatch, caplog):
    monkeypatch.setattr(tar_shards, "SECONDS_PER_LINE", -1)
    lines = []
    monkeypatch.setattr(
        tar_shards, "print_log", lambda text, logger, level=logging.INFO: lines.append(text)
    )
    build(shards)
    assert lines == [f"Indexed {i} of 3 shards." for i in (1, 2, 3)]
