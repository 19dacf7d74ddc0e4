"""From a folder to a config that is ready to train, and what is said and refused on the way."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from mmdino.config_check import check_config
from mmdino.config_check.config_files import read_config
from mmdino.datasets.image_check import ImageHeader
from mmdino.folder_recipe import prepare as module
from mmdino.folder_recipe.config_file import KNNSplit, config_path_in, knn_split, write_config
from mmdino.folder_recipe.images import FolderFacts
from mmdino.folder_recipe.machine import Machine
from mmdino.folder_recipe.prepare import (
    Wish,
    default_work_dir,
    epochs_in,
    prepare,
    seconds_of,
)
from mmdino.folder_recipe.rate import Rate
from mmdino.folder_recipe.recipe import SIZES, choose

CPU = Machine("cpu", "No GPU", 16.0, 2, None)
NEEDS = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
SPLIT = KNNSplit(("cat", 'd"og'), (("cat/0.png", 0),), (('d"og/1.png', 1),))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("45s", 45), ("2h", 7200), ("1h30m", 5400), ("0.5h", 1800), ("2d", 172800)],
)
def test_times_have_units(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"time": "5"}, ValueError, r"invalid time '5'.* 30m or 1h30m\. 5m is minutes, 5h hours"),
        ({"time": "half an hour"}, ValueError, "invalid time 'half an hour'"),
        ({"time": "-5m"}, ValueError, "invalid time '-5m'"),
        ({"time": ""}, ValueError, "invalid time ''"),
        ({"time": "0m"}, ValueError, "expected more than 0"),
        ({"time": 30}, TypeError, "invalid time 30: expected a text with a unit"),
        ({"epochs": 0}, ValueError, "epochs=0; it must be a whole number at least 1"),
        ({"epochs": 2.5}, TypeError, "epochs=2.5; it must be a whole number"),
        ({"epochs": 3, "time": "5m"}, ValueError, "Both epochs .* and time"),
    ],
)
def test_lengths_that_are_none_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        Wish(**given)


def test_a_time_becomes_epochs():
    rate = Rate(step=0.5, steps=10, batches=20, validation=4.0)
    assert epochs_in(100.0, rate, "100s") == 6  # 10 s an epoch, and ten validations
    assert epochs_in(20.0, rate, "20s") == 1
    with pytest.raises(ValueError, match=r"--time 17s is not enough: an epoch takes 18 s here"):
        epochs_in(17.0, rate, "17s")


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (ImageHeader(32, 32, 3, 8), "tiny"),
        (ImageHeader(500, 375, 3, 8), "small"),
        (ImageHeader(90, 80, 1, 8), "base"),
        (ImageHeader(64, 64, 1, 16), "tiny"),
    ],
)
def test_what_is_written_is_a_config_without_a_doubt(tmp_path, header, size):
    facts = FolderFacts("/my images", range(1000), (header,), (), 1, "")
    recipe = choose(facts, CPU, size, has_classes=True)
    path = write_config(recipe, "About\nthe images", "/my images", tmp_path / "run", SPLIT)
    assert path == tmp_path / "run" / "recipe" / "pretrain.py"
    own = [line for line in path.read_text().splitlines() if str(tmp_path) not in line]
    assert max(map(len, own)) <= 100
    cfg = read_config(str(path))
    assert check_config(cfg, NEEDS) == []
    assert cfg.work_dir == str(tmp_path / "run")
    assert cfg.train_dataloader.dataset.data_root == "/my images"
    assert cfg.val_dataloader.dataset.classes == list(SPLIT.classes)
    assert (tmp_path / "run" / "recipe" / "knn_queries.txt").read_text() == 'd"og/1.png 1\n'
    assert cfg.model.head.in_channels == SIZES[size].width
    gray = header.channels == 1
    assert cfg.model.backbone.in_channels == (1 if gray else 3)
    assert len(cfg.model.data_preprocessor.get("mean", "rgb")) == cfg.model.backbone.in_channels
    views = cfg.train_dataloader.dataset.pipeline[1]["views"]
    assert all(("hue" in view) == gray for view in views)
    for name, value in {
        "batch_size": cfg.train_dataloader.batch_size,
        "max_epochs": cfg.train_cfg.max_epochs,
        "lr": cfg.optim_wrapper.optimizer.lr,
        "precision": cfg.optim_wrapper.precision,
        "momentum": cfg.default_hooks.ema_teacher.momentum,
        "num_prototypes": cfg.model.head.out_channels,
        "warmup_epochs": cfg.param_scheduler[0].warmup,
        "weight_decay_end": cfg.param_scheduler[1].end_value,
        "eval_size": cfg.model.backbone.img_size,
        "unreadable_limit": cfg.default_hooks.unreadable_images.limit,
    }.items():
        assert value == recipe[name], name
    # Several processes have fewer batches in an epoch.
    assert all(schedule.by_epoch for schedule in cfg.param_scheduler)


def test_without_classes_nothing_is_compared(tmp_path):
    facts = FolderFacts("/images", range(16), (ImageHeader(500, 375, 3, 8),), (), 1, "")
    path = write_config(choose(facts, CPU, epochs=1), "", "/images", tmp_path / "run")
    cfg = read_config(str(path))
    assert not check_config(cfg, NEEDS)
    assert "val_dataloader" not in cfg
    assert os.listdir(path.parent) == ["pretrain.py"]


def test_without_classes_images_are_held_out(tmp_path):
    facts = FolderFacts("/images", range(1000), (ImageHeader(90, 80, 1, 8),), (), 1, "")
    path = write_config(choose(facts, CPU), "", "/images", tmp_path / "run")
    cfg = read_config(str(path))
    assert check_config(cfg, NEEDS) == []
    trained, held = cfg.train_dataloader.dataset, cfg.val_dataloader.dataset
    assert trained.hold_out == held.hold_out == 100
    assert (trained.get("held_out", False), held.held_out) == (False, True)
    assert held.pipeline[1]["views"][0]["hue"] == 0, "as grey as the views of training"
    assert cfg.train_cfg.val_at_start
    assert cfg.val_evaluator.few_images, "100 images for features of 128 numbers, as chosen"
    assert "ranks are at most 100" in path.read_text()


@pytest.mark.parametrize(
    "source", [{"list": "/my images/a.csv"}, {"type": "mmdino.TarShards", "shards": "a-*.tar"}]
)
def test_lists_and_shards_are_what_training_and_validation_read(tmp_path, source):
    facts = FolderFacts("/images", range(1000), (ImageHeader(90, 80, 3, 8),), (), 1, "", source)
    path = write_config(choose(facts, CPU), "", "/images", tmp_path / "run", source=facts.source)
    cfg = read_config(str(path))
    assert check_config(cfg, NEEDS) == []
    expected = {"type": "mmdino.ImageFolder", "data_root": "/images", **source}
    for dataset in (cfg.train_dataloader.dataset, cfg.val_dataloader.dataset):
        assert {name: dataset[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("data", "name"),
    [("v1.5", "v1.5"), ("a.csv", "a"), ("b/train-{000..146}.tar", "train"), ("/", "images")],
)
def test_work_dirs_are_called_after_the_images(tmp_path, monkeypatch, data, name):
    (tmp_path / "v1.5").mkdir()
    monkeypatch.chdir(tmp_path)
    assert default_work_dir(data) == f"work_dirs/dino_{name}"


def test_enough_held_out_images_are_not_called_few(tmp_path):
    facts = FolderFacts("/images", range(2000), (ImageHeader(90, 80, 1, 8),), (), 1, "")
    path = write_config(choose(facts, CPU), "", "/images", tmp_path / "run")
    assert "few_images" not in read_config(str(path)).val_evaluator


def test_neighbours_are_looked_for_among_other_images():
    classes = {"a": [f"a/{i}" for i in range(5)], "b": ["b/0", "b/1", "b/ 2 ", "b/new\nline"]}
    split = knn_split(classes)
    assert split.classes == ("a", "b")
    assert split.bank == (("a/0", 0), ("a/2", 0), ("a/4", 0), ("b/0", 1))
    assert split.queries == (("a/1", 0), ("a/3", 0), ("b/1", 1))


def test_large_folders_are_compared_by_a_part():
    split = knn_split({label: [f"{label}/{i}" for i in range(30_000)] for label in "ab"})
    assert (len(split.bank), len(split.queries)) == (10_000, 2_000)


@pytest.fixture
def images(tmp_path):
    """A folder of 16 images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(16):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((32, 32, 3), index, np.uint8))
    return folder


def test_the_recipe_is_written_for_the_time_that_was_asked_for(images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure_rate", lambda cfg: Rate(0.5, 9, 4, 0.0))
    said = []
    path = prepare(images, tmp_path / "run", Wish(time="1m"), say=said.append)
    assert read_config(str(path)).train_cfg.max_epochs == 30
    assert f"The recipe is {path}" in said[-1]
    assert "30 epoch(s) of 4 batches: about 60 s at 0.5 s a batch (measured over 9)." in said[-1]
    text = path.read_text().replace("\n# ", " ")
    assert all(line.replace("\n", " ") in text for line in said[0].splitlines())


def test_checkpoints_follow_the_rate(images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure_rate", lambda cfg: Rate(400.0, 9, 4, 0.0))
    cfg = read_config(str(prepare(images, tmp_path / "run", Wish(epochs=1), say=list)))
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.by_epoch, checkpoint.interval, checkpoint.max_keep_ckpts) == (False, 3, 3)


def test_options_count_in_what_is_said(images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure_rate", lambda cfg: Rate(0.5, 9, 4, 0.0))
    said = []
    prepare(images, tmp_path / "run", Wish(), {"train_dataloader.batch_size": 2}, said.append)
    assert "Batch 2, learning rate 0.0005, 312 epoch(s)" in said[-1]


def test_a_second_recipe_is_refused_and_a_failed_one_is_not_kept(images, tmp_path, monkeypatch):
    work_dir = tmp_path / "run"
    monkeypatch.setattr(module, "measure_rate", lambda cfg: Rate(60.0, 9, 4, 0.0))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"--time 1m is not enough: an epoch takes 4 min"):
            prepare(images, work_dir, Wish(time="1m"), say=list)
    assert not config_path_in(work_dir).exists()
    prepare(images, work_dir, Wish(), say=list)
    before = config_path_in(work_dir).read_text()
    with pytest.raises(
        ValueError,
        match=r"has a recipe already.*no checkpoint yet\. To start it: .*pretrain\.py\. ",
    ):
        prepare(images, work_dir, Wish(), say=list)
    assert config_path_in(work_dir).read_text() == before


@pytest.mark.parametrize(("data", "work_dir"), [("", "run"), ("images", " ")])
def test_names_that_are_empty_are_refused(tmp_path, monkeypatch, data, work_dir):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is empty"):
        prepare(data, work_dir, Wish(), say=list)


@pytest.mark.parametrize("below", ["", "deeper/run"])
def test_output_among_the_images_is_refused(images, below):
    before = sorted(os.listdir(images))
    with pytest.raises(ValueError, match="lies in the folder of images"):
        prepare(images, images / below, Wish(), say=list)
    assert sorted(os.listdir(images)) == before
