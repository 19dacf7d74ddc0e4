"""Training on the data that people have: shards, other formats and channels, mmpretrain's sets."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile

import cv2
import numpy as np
import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS
from mmpretrain.datasets import CIFAR10
from tiny_dicom import dicom

VIEWS = [
    {"num": 2, "size": 32, "scale": (0.4, 1.0)},
    {"num": 2, "size": 16, "scale": (0.05, 0.4)},
]
NO_COLOURS = {"brightness": 0.2, "saturation": 0, "hue": 0, "gray_prob": 0}
SIDE = 36


class Interruption(Exception):
    """Raised in the middle of a run."""


class Batches(Hook):
    """Keeps the views of each step, and interrupts the run after a step."""

    def __init__(self, end=None):
        self.views = []
        self.end = end

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.views.append([torch.stack(view) for view in data_batch["inputs"]])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert torch.isfinite(outputs["loss"])
        if runner.iter + 1 == self.end:
            raise Interruption


def pipeline(load, **view_options):
    views = [{**view, **view_options} for view in VIEWS]
    steps = [{"type": "mmdino.MultiCropTransform", "views": views}, {"type": "mmdino.PackViews"}]
    return [*load, *steps]


def train(work_dir, dataset, end=None, channels=3, **options):
    """Trains two epochs of three steps; returns the runner, and the views of each step."""
    model = tiny_run.vit_model()
    model["backbone"]["in_channels"] = channels
    model["data_preprocessor"] = {"mean": [127.5] * channels, "std": [127.5] * channels}
    runner = tiny_run.build(
        work_dir,
        model=model,
        dataset=dataset,
        collate_fn={"type": "pseudo_collate"},
        default_hooks={
            "checkpoint": {"type": "mmdino.CheckpointHook", "by_epoch": False, "interval": 2}
        },
        **options,
    )
    batches = Batches(end)
    runner.register_hook(batches)
    if end is None:
        runner.train()
    else:
        with pytest.raises(Interruption):
            runner.train()
    return runner, batches.views


def image_of(seed, channels=3, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return rng.integers(np.iinfo(dtype).max, size=(SIDE, SIDE, channels)).astype(dtype)


def test_a_run_on_shards_goes_on_with_the_views_of_an_uninterrupted_one(tmp_path):
    for shard in range(3):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for index in range(4):
                content = cv2.imencode(".png", image_of(4 * shard + index))[1].tobytes()
                info = tarfile.TarInfo(f"{index}.png")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    dataset = {
        "type": "mmdino.TarShards",
        "data_root": str(tmp_path),
        "shards": "{0..2}.tar",
        "pipeline": pipeline([{"type": "LoadImageFromFile"}]),
    }
    _, whole = train(tmp_path / "whole", dataset)
    train(tmp_path / "interrupted", dataset, end=5)
    _, rest = train(tmp_path / "interrupted", dataset, resume=True)
    assert (len(whole), len(rest)) == (6, 2)
    torch.testing.assert_close(rest, whole[4:], rtol=0, atol=0)


def write_tiff(path, seed):
    tifffile = pytest.importorskip("tifffile", reason="needs tifffile (mmdino[geotiff])")
    image = image_of(seed, 8, np.uint16)
    tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")


def write_dicom(path, seed):
    path.write_bytes(dicom(image_of(seed, 1, np.uint16)[..., 0] >> 4))


def write_array(path, seed):
    np.save(path.open("wb"), image_of(seed, 5))


def read_array(content):
    """A reader of a user's own."""
    return np.load(io.BytesIO(content))


FORMATS = {
    "8 bands of 16 bits": (write_tiff, ".tif", "mmdino.read_tiff", 8),
    "DICOM": (write_dicom, ".dcm", {"type": "mmdino.read_dicom", "window": "bits"}, 1),
    "5 channels by a function": (write_array, ".npy", "read_array", 5),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_trained_on_and_evaluated(tmp_path, monkeypatch, name):
    write, suffix, reader, channels = FORMATS[name]
    monkeypatch.setitem(FUNCTIONS.module_dict, "read_array", read_array)
    for seed in range(12):
        folder = tmp_path / "images" / str(seed % 2)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{seed}{suffix}", seed)
    load = {"type": "mmdino.LoadImage", "reader": reader, "channels": channels}
    dataset = {
        "type": "mmdino.ImageFolder",
        "data_root": str(tmp_path / "images"),
        "extensions": [suffix],
        "pipeline": pipeline([load], **NO_COLOURS),
    }
    evaluated = {
        **dataset,
        "with_label": True,
        "pipeline": [
            load,
            {"type": "ResizeEdge", "scale": 32, "edge": "short"},
            {"type": "CenterCrop", "crop_size": 32},
            {"type": "PackInputs"},
        ],
    }
    loader = tiny_run.loader(evaluated, collate_fn={"type": "pseudo_collate"})
    runner, views = train(
        tmp_path / "run",
        dataset,
        channels=channels,
        val_dataloader=loader,
        val_cfg={"type": "mmdino.KNNValLoop", "bank_dataloader": loader},
        val_evaluator={"type": "mmdino.KNNMetric", "k": 1},
    )
    assert views[0][0].shape == (4, channels, 32, 32)
    # Each image is its own nearest neighbour, unless all features are equal.
    assert runner.message_hub.get_scalar("val/knn/top1").current() == 100


@pytest.mark.parametrize(
    ("channels", "load", "message"),
    [
        (3, {}, r"mean and std of 3 channel\(s\), but got images .* \(4, 5, 32, 32\)"),
        (5, {"channels": 8}, r"\d\.npy: the image has 5 channel\(s\)"),
    ],
)
def test_channels_that_do_not_fit_the_model_are_named(
    tmp_path, monkeypatch, channels, load, message
):
    monkeypatch.setitem(FUNCTIONS.module_dict, "read_array", read_array)
    for seed in range(4):
        write_array(tmp_path / f"{seed}.npy", 0)
    dataset = {
        "type": "mmdino.ImageFolder",
        "data_root": str(tmp_path),
        "extensions": [".npy"],
        "pipeline": pipeline(
            [{"type": "mmdino.LoadImage", "reader": "read_array", **load}], **NO_COLOURS
        ),
    }
    with pytest.raises((TypeError, ValueError), match=message):
        train(tmp_path / "run", dataset, channels=channels)


def write_cifar(folder, monkeypatch):
    """Writes twelve images as the files of CIFAR-10."""
    folder = folder / CIFAR10.base_folder
    folder.mkdir()
    batch = {"data": np.stack([image_of(0)[:32, :32]] * 12).reshape(12, -1), "labels": [0] * 12}
    files = {"data_batch_1": batch, "batches.meta": {"label_names": list("abcdefghij")}}
    sums = {}
    for name, content in files.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)


def test_data_sets_of_mmpretrain_are_trained_on(tmp_path, monkeypatch):
    write_cifar(tmp_path, monkeypatch)
    dataset = {
        "type": "CIFAR10",
        "data_root": str(tmp_path),
        "split": "train",
        "download": False,
        "pipeline": pipeline([]),
    }
    _, views = train(tmp_path / "run", dataset)
    assert len(views) == 6
    # The images are equal: views differ by the seeds that the sampler gives each image and epoch.
    _, again = train(tmp_path / "again", dataset, end=2)
    torch.testing.assert_close(again, views[:2], rtol=0, atol=0)
    assert len(torch.cat([step[0] for step in views]).unique(dim=0)) == 24
