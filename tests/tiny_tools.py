"""What a user of the tools has, small enough for a test, and the end of a tool run in process."""

from __future__ import annotations

import functools
import json
import os
import pickle
import runpy
import shutil
import sys
from pathlib import Path
from string import Template

import cv2
import numpy as np
import torch

from mmdino.utils.tool_errors import run_tool

ROOT = Path(__file__).parents[1]
CONFIGS, TOOLS = ROOT / "configs", ROOT / "tools"
VIT = {
    "type": "mmdino.VisionTransformer",
    "arch": {"embed_dims": 12, "num_layers": 1, "num_heads": 2, "feedforward_channels": 24},
    "img_size": 32,
    "patch_size": 8,
}
SHORT_DEMO = [
    "train_dataloader.dataset.num_images=64",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.dataset.num_images=40",
    "val_cfg.bank_dataloader.dataset.num_images=40",
    "train_cfg.max_epochs=2",
]
"""Options of a demo, whose images are drawn, for a run of seconds."""

NO_FIGURE = "default_hooks.training_figure=None"
"""Drawing it takes longer than the training of a run of seconds."""

RUN = """
import time

log_level = "ERROR"
# Runs of one name share mmengine's log and its global message hub.
experiment_name = str(time.time_ns())
env_cfg = dict(cudnn_benchmark=False)
"""
PRETRAINING = Template("""
_base_ = ["$configs/dino_demo.py"]
model = dict(
    backbone=dict(_delete_=True, **$vit),
    head=dict(in_channels=12, out_channels=16, hidden_channels=8, bottleneck_channels=4),
)
views = [
    dict(num=2, size=16, scale=(0.4, 1.0)),
    dict(num=1, size=8, scale=(0.1, 0.4)),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        serialize_data=False,
        num_images=8,
        image_size=32,
        pipeline=[
            dict(type="mmdino.MultiCropTransform", views=views),
            dict(type="mmdino.PackViews"),
        ],
    ),
)
small = dict(batch_size=4, dataset=dict(serialize_data=False, num_images=8, image_size=32))
val_dataloader = small
val_cfg = dict(bank_dataloader=small)
val_evaluator = dict(k=4)
train_cfg = dict(max_epochs=2, val_interval=2, val_at_start=False)
default_hooks = dict(logger=dict(interval=1), training_figure=None)
""")
FOLDER = Template("""
_base_ = ["$root/tiny.py"]
load = dict(type="LoadImageFromFile")
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="mmdino.ImageFolder",
        serialize_data=False,
        data_root="$root/images",
        pipeline=[load, *_base_.train_dataloader.dataset.pipeline],
    ),
)
labelled = dict(
    dataset=dict(
        _delete_=True,
        type="mmdino.ImageFolder",
        serialize_data=False,
        data_root="$root/images",
        with_label=True,
        test_mode=True,
        pipeline=[load, dict(type="PackInputs")],
    ),
)
val_dataloader = labelled
val_cfg = dict(bank_dataloader=labelled)
""")
CLASSIFIER = Template("""
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        _delete_=True,
        type="mmdino.ImageFolder",
        serialize_data=False,
        data_root="$root/images",
        with_label=True,
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    ),
)
val_dataloader = dict(
    batch_size=4,
    dataset=dict(
        _delete_=True,
        type="mmdino.ImageFolder",
        serialize_data=False,
        data_root="$root/images",
        with_label=True,
        test_mode=True,
        pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
    ),
)
default_hooks = dict(logger=dict(interval=1))
""")
LINEAR = Template("""
_base_ = ["$configs/linear/demo.py"]
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            **$vit,
            out_type="raw",
            out_indices=[0],
            norm_outputs=True,
            init_cfg=dict(type="Pretrained", checkpoint="$root/run/epoch_2.pth"),
        ),
    ),
    head=dict(in_channels=12, num_classes=2),
)
train_cfg = dict(max_epochs=1, val_interval=1)
""")
FINETUNE = Template("""
_base_ = ["$configs/finetune/demo.py"]
model = dict(
    data_preprocessor=dict(num_classes=2),
    backbone=dict(
        _delete_=True,
        **$vit,
        init_cfg=dict(type="Pretrained", checkpoint="$root/run/epoch_2.pth"),
    ),
    head=dict(in_channels=12, num_classes=2),
)
param_scheduler = [dict(_base_.lr_schedule, warmup=0)]
val_evaluator = dict(topk=(1,))
train_cfg = dict(max_epochs=1, val_interval=1)
""")


@functools.cache
def main_of(tool):
    """The main function of a tool."""
    return runpy.run_path(str(TOOLS / tool))["main"]


def end(tool, arguments, monkeypatch, capsys):
    """Runs a tool as from a shell; returns its exit code and what it wrote.

    Args:
        tool: Path of the tool below tools/.
        arguments: What follows it on the command line.
        monkeypatch: The fixture.
        capsys: The fixture.

    Returns:
        Exit code, standard output and standard error.
    """
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    capsys.readouterr()
    try:
        run_tool(main_of(tool))
    except SystemExit as end:
        code = end.code or 0
    written = capsys.readouterr()
    return code, written.out, written.err


def write_image(path, height=32, width=32, channels=3, seed=0):
    """Writes an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, channels) if channels > 1 else (height, width)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8))


def write_configs(root):
    """Writes the configs that the rows change: tiny.py, folder.py, linear.py and finetune.py."""
    places = {"root": root, "configs": CONFIGS, "vit": VIT}
    for name, parts in (
        ("tiny", (PRETRAINING,)),
        ("folder", (FOLDER,)),
        ("linear", (LINEAR, CLASSIFIER)),
        ("finetune", (FINETUNE, CLASSIFIER)),
    ):
        text = RUN + "".join(part.substitute(places) for part in parts)
        (root / f"{name}.py").write_text(text)


def write_images(root):
    """Writes two folders of classes with four images each, and folders with images of a kind."""
    for label in ("cat", "dog"):
        for index in range(4):
            write_image(root / "images" / label / f"{index}.png", seed=index)
            write_image(root / "others" / label / f"{index}.png", seed=9 + index)
        write_image(root / "mixed" / label / "large.png", 40, 48)
        write_image(root / "mixed" / label / "small.png")
        write_image(root / "unlabelled" / f"{label}.png")
        write_image(root / "other_classes" / f"{label}fish" / "0.png")
    for name, channels in (("gray", 1), ("alpha", 4)):
        write_image(root / f"{name}.png", channels=channels)
    (root / "broken" / "cat").mkdir(parents=True)
    (root / "broken" / "cat" / "0.png").write_bytes(b"no image")
    (root / "no_images").mkdir()
    for name in ("strange", "zero", "loop"):
        write_image(root / name / "cat" / "0.png")
    (root / "strange" / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"no image")
    (root / "zero" / "cat" / "1.png").touch()
    (root / "loop" / "cat" / "again").symlink_to(root / "loop")
    (root / "loop" / "cat" / "self.png").symlink_to(root / "loop" / "cat" / "self.png")
    shutil.copytree(root / "images", root / "one_broken")
    (root / "one_broken" / "cat" / "a.png").write_bytes(b"no image")
    shutil.copytree(root / "images", root / "links")
    (root / "links" / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "links" / "cat" / "notes.txt").write_text("no image")
    write_image(root / "wide" / "0.png", 1, 4000)
    # Its header promises ten billion pixels.
    bomb = bytearray((root / "wide" / "0.png").read_bytes())
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2
    (root / "bomb" / "cat").mkdir(parents=True)
    (root / "bomb" / "cat" / "0.png").write_bytes(bomb)
    (root / "empty_class" / "cat").mkdir(parents=True)
    write_image(root / "empty_class" / "dog" / "0.png")


def write_checkpoints(root, checkpoint):
    """Writes what may be given for a checkpoint, beside the real one."""
    whole = checkpoint.read_bytes()
    (root / "truncated.pth").write_bytes(whole[:-1000])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    (root / "flipped.pth").write_bytes(flipped)
    (root / "empty.pth").write_bytes(b"")
    (root / "text.pth").write_text("weights")
    content = torch.load(checkpoint, weights_only=False)
    state = content["state_dict"]
    torch.save({"state_dict": {}}, root / "no_weights.pth")
    torch.save({"state_dict": state}, root / "no_meta.pth")
    nan = {name: value * torch.nan for name, value in state.items()}
    torch.save({**content, "state_dict": nan}, root / "nan.pth")
    torch.save({"meta": {}, "weights": System()}, root / "evil.pth")


def write_banks(root):
    """Writes what may be given for a feature bank, beside the real ones, "bank" and "queries"."""
    for name in ("promising", "no_json", "pickled", "one_label", "unnamed"):
        shutil.copytree(root / "bank", root / name)
        record = json.loads((root / name / "bank.json").read_text())
        # Banks of former versions have none.
        del record["crc32"]
        if name == "promising":
            record["images"] = record["plan"]["images"] = 10**12
        (root / name / "bank.json").write_text(json.dumps(record))
    (root / "unnamed" / "images.txt").unlink()
    (root / "no_json" / "bank.json").write_text("{")
    (root / "pickled" / "features.npy").write_bytes(pickle.dumps(System()))
    labels = np.load(root / "one_label" / "labels.npy")
    np.save(root / "one_label" / "labels.npy", np.zeros_like(labels))
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 12)}
    with (root / "promising" / "features.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


class System:
    """Unpickled unrestrictedly it runs a command."""

    def __reduce__(self):
        import os

        return os.system, ("exit 0",)
