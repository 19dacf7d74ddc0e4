"""Features of any folder, in each format: what is written is read; nothing is computed twice."""

from __future__ import annotations

import shutil
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import tiny_run
import torch
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from mmdino.curation.thumbnails import thumbnails
from mmdino.evaluation.bank_extraction import BankWriter
from mmdino.evaluation.bank_files import open_features
from mmdino.evaluation.embedding import UNFINISHED, embed, embed_images, images_of
from mmdino.evaluation.extraction_options import ExtractionOptions

OPTIONS = ExtractionOptions(size=16, crop=16, batch_size=2, workers=0)
FORMATS = ("bank", "bank.npz", "bank.parquet", "bank.faiss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five images in two folders, one of which is empty."""
    init_default_scope("mmpretrain")
    root = tmp_path_factory.mktemp("embedding") / "images"
    rng = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.png", "a/é 3.png", "b/1.png", "b/deep/2.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(20, 24, 3), dtype=np.uint8)).save(root / name)
    (root / "b" / "broken.png").write_bytes(b"")
    return root


def embedded(images, out, options=OPTIONS, labels="auto", listed=None, **more):
    """Embeds with thumbnails for a network."""
    dataset = images_of(images, options, labels, listed)
    return embed_images(thumbnails(options.crop), dataset, out, options, "the command", **more)


@pytest.fixture(scope="module")
def banks(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("banks")
    return {name: embedded(folder, root / name) for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_features_names_classes_and_what_made_it(banks, name):
    bank, whole = open_features(banks[name].folder), banks["bank"]
    expected = whole[:]
    if name == "bank.faiss":
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(bank[:], expected, rtol=1e-6)
    np.testing.assert_array_equal(bank[np.array([3, 0])], bank[:][[3, 0]])
    assert bank.names == ["a/1.png", "a/2.png", "a/é 3.png", "b/1.png", "b/deep/2.png"]
    assert (bank.classes, bank.labels.tolist()) == (["a", "b"], [0, 0, 0, 1, 1])
    assert bank.unreadable == {"b/broken.png": "is empty"}
    assert bank.plan["network_sha256"] == whole.plan["network_sha256"]
    assert not list(bank.folder.parent.glob(f"*{UNFINISHED}"))


@pytest.mark.parametrize("name", FORMATS[1:])
def test_a_file_is_not_computed_again_nor_replaced_unasked(banks, folder, name, capsys):
    before = banks[name].folder.read_bytes()
    assert len(embedded(folder, banks[name].folder)) == 5
    assert "5 images are there already" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"size is 16 there, 17 now.*--overwrite"):
        embedded(folder, banks[name].folder, replace(OPTIONS, size=17))
    assert banks[name].folder.read_bytes() == before


def test_a_killed_run_to_a_file_goes_on(folder, banks, tmp_path, monkeypatch, capsys):
    write, out = BankWriter.write_part, tmp_path / "bank.npz"

    def interrupt_the_second(self, number, features):
        if number:
            raise KeyboardInterrupt
        write(self, number, features)

    with monkeypatch.context() as patch:
        patch.setattr(BankWriter, "write_part", interrupt_the_second)
        with pytest.raises(KeyboardInterrupt):
            embedded(folder, out, part_size=4)
    assert not out.exists()
    resumed = embedded(folder, out, part_size=4)
    assert "2 images; 4 are there from before" in capsys.readouterr().out
    np.testing.assert_array_equal(resumed[:], banks["bank.npz"][:])


@pytest.mark.parametrize("name", FORMATS[1:])
def test_a_damaged_file_is_told(banks, tmp_path, name):
    content = bytearray(banks[name].folder.read_bytes())
    content[len(content) // 3] ^= 1
    (tmp_path / name).write_bytes(content)
    if name == "bank.faiss":
        with pytest.raises(FileNotFoundError, match=r"no file bank\.faiss\.json beside it"):
            open_features(tmp_path / name)
        beside = banks[name].folder.with_name("bank.faiss.json")
        (tmp_path / beside.name).write_bytes(beside.read_bytes())
    with pytest.raises(
        ValueError, match=r"damaged|not the index that bank\.faiss\.json belongs to"
    ):
        open_features(tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "place", "classes"),
    [
        ("auto", "a", ["image"]),  # flat
        ("auto", ".", ["a", "b"]),
        ("none", ".", ["image"]),
        ("folders", "b", ["deep"]),  # the image beside it is left out
        ("auto", "b", ["image"]),
    ],
)
def test_classes_are_folders_that_all_images_are_in(folder, labels, place, classes):
    assert list(images_of(folder / place, OPTIONS, labels).metainfo["classes"]) == classes


def test_a_hidden_folder_beside_class_folders_is_no_class(folder, tmp_path):
    for name in ("a/1.png", "b/1.png", ".ipynb_checkpoints/1.png"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(folder / "a" / "1.png", tmp_path / name)
    for labels in ("auto", "folders"):
        found = images_of(tmp_path, OPTIONS, labels)
        assert (list(found.metainfo["classes"]), len(found)) == (["a", "b"], 2)


def test_an_archive_beside_class_folders_is_left_out(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "images")
    with tarfile.open(tmp_path / "images" / "download.tar", "w") as tar:
        tar.add(folder / "a" / "1.png", "1.png")
    found = images_of(tmp_path / "images", OPTIONS)
    assert (list(found.metainfo["classes"]), len(found)) == (["a", "b"], 6)
    said = capsys.readouterr().out
    assert "1 tar file(s) beside them are left out (download.tar)" in said
    assert f"give '{tmp_path / 'images' / '*.tar'}'" in said
    shards = images_of(tmp_path / "images" / "*.tar", OPTIONS)
    assert shards.names() == ["download.tar/1.png"]
    assert "left out" not in capsys.readouterr().out


def test_a_folder_of_shards_alone_is_read(folder, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        tar.add(folder / "a" / "1.png", "1.png")
    assert images_of(tmp_path, OPTIONS).names() == ["0.tar/1.png"]


def test_a_list_is_of_its_folder_or_of_the_one_that_is_given(folder, tmp_path):
    (tmp_path / "list.txt").write_text("b/1.png\na/2.png\n")
    given = images_of(folder, OPTIONS, listed=tmp_path / "list.txt")
    (folder.parent / "list.txt").write_text("images/b/1.png\nimages/a/2.png\n")
    assert given.names() == ["b/1.png", "a/2.png"]
    assert images_of(folder.parent / "list.txt", OPTIONS).names() == [
        "images/b/1.png",
        "images/a/2.png",
    ]
    # No image is looked for beside the list, so that the features may be there.
    bank = embedded(folder.parent / "list.txt", folder.parent / "listed.npz")
    assert bank.names == ["images/b/1.png", "images/a/2.png"]
    with pytest.raises(ValueError, match="A list of images has no classes"):
        images_of(folder, OPTIONS, "folders", tmp_path / "list.txt")
    with pytest.raises(ValueError, match="invalid labels='all'"):
        images_of(folder, OPTIONS, "all")


def test_a_name_that_parquet_cannot_hold_is_told_before_anything_is_computed(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "images" / "\udcff.png")
    with pytest.raises(ValueError, match="no UTF-8, which Parquet needs"):
        embedded(tmp_path / "images", tmp_path / "bank.parquet")
    bank = embedded(tmp_path / "images", tmp_path / "bank.npz")
    assert bank.names == ["\udcff.png"]


def test_a_missing_package_is_named_with_its_command(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mmdino\[parquet\]"'):
        embedded(folder, tmp_path / "bank.parquet")


def test_one_call_embeds_with_a_checkpoint(folder, tmp_path):
    checkpoint = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": MODELS.build(tiny_run.vit_model()).state_dict()}, checkpoint)
    sizes = {"size": 32, "crop": 32, "workers": 0}
    bank = embed(checkpoint, folder / "a", tmp_path / "out.npz", num_heads=2, **sizes)
    assert (len(bank), bank.width, bank.has_classes) == (3, 12, False)
    assert bank.plan["loading"]["checkpoint"] == str(checkpoint)
    with pytest.raises(ValueError, match=r"cannot be in a file \.pkl"):
        embed(checkpoint, folder, tmp_path / "out.pkl")
