"""Every pretraining config trains past its freeze and its warm-up, as a user would start it."""

from __future__ import annotations

import json
import runpy
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import tiny_classification
import tiny_run
import torch
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("dino_*.py"))
SHARDED = [path for path in CONFIGS if "strategy" in Config.fromfile(path)]
TEMP_EPOCHS = 2
WIDTH = 12
BANK = "val_cfg.bank_dataloader"
main = runpy.run_path(str(ROOT / "tools" / "train.py"))["main"]


@pytest.fixture(autouse=True)
def _plain_text(monkeypatch):
    """Keeps mmengine from formatting the config six times a run, most of its time."""
    monkeypatch.setattr(Config, "pretty_text", property(Config.text.fget))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return tiny_classification.write_images(tmp_path_factory.mktemp("images"), "train", 2) / "train"


def epochs_of(cfg):
    """Length of a run that goes on for an epoch after the freeze and after the warm-up."""
    hooks = cfg.default_hooks
    warmup = TEMP_EPOCHS if hooks.teacher_temp_warmup.epochs else 0
    return 1 + max(hooks.last_layer_freeze.epochs, warmup, 1)


def arguments(path, images, work_dir):
    """The command line that makes a config a run of seconds."""
    cfg = Config.fromfile(path)
    epochs = epochs_of(cfg)
    counts = cfg.optim_wrapper.get("accumulative_counts", 1)
    changes = {
        "experiment_name": f"pretraining-{path.stem}",
        "log_level": "ERROR",
        "train_cfg.max_epochs": epochs,
        "param_scheduler.0.warmup": 1,
        "optim_wrapper.accumulative_counts": min(counts, 2),
        "train_dataloader.batch_size": 4,
        "train_dataloader.num_workers": 0,
        "train_dataloader.persistent_workers": False,
        "train_dataloader.pin_memory": False,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.checkpoint.max_keep_ckpts": -1,
        "default_hooks.logger.interval": 1,
        "model.head.out_channels": 32,
        "model.head.hidden_channels": 16,
        "model.head.bottleneck_channels": 8,
        **backbone_changes(cfg.model.backbone),
    }
    if cfg.default_hooks.teacher_temp_warmup.epochs:
        changes["default_hooks.teacher_temp_warmup.epochs"] = TEMP_EPOCHS
    changes |= dataset_changes("train_dataloader", cfg.train_dataloader, images)
    if cfg.get("val_cfg"):
        changes["train_cfg.val_interval"] = epochs
        bank = cfg.val_cfg.bank_dataloader
        for name, loader in (("val_dataloader", cfg.val_dataloader), (BANK, bank)):
            changes |= {f"{name}.num_workers": 0, f"{name}.pin_memory": False}
            changes |= dataset_changes(name, loader, images)
    options = [f"{key}={value}" for key, value in changes.items()]
    return [str(path), "--work-dir", str(work_dir), "--cfg-options", *options]


def dataset_changes(name, loader, images):
    if loader.dataset.type == "mmdino.DrawnShapes":
        return {f"{name}.dataset.num_images": 12}
    return {f"{name}.dataset.data_root": images, f"{name}.dataset.every": 1}


def backbone_changes(backbone):
    if backbone.type == "mmdino.ResNet":
        channels = 4
        return {
            "model.backbone.stem_channels": channels,
            "model.backbone.base_channels": channels,
            "model.head.in_channels": 32 * channels,
        }
    return {
        # A name, or other sizes.
        "model.backbone.arch._delete_": True,
        "model.backbone.arch.embed_dims": WIDTH,
        "model.backbone.arch.num_layers": 1,
        "model.backbone.arch.num_heads": 2,
        "model.backbone.arch.feedforward_channels": 2 * WIDTH,
        "model.head.in_channels": WIDTH,
    }


def assert_trained(path, work_dir):
    """The run has ended, prototypes and temperature are where they should be, k-NN was measured."""
    cfg = Config.fromfile(path)
    epochs, frozen = epochs_of(cfg), cfg.default_hooks.last_layer_freeze.epochs
    after = [
        torch.load(work_dir / f"epoch_{epoch}.pth", weights_only=False)
        for epoch in range(1, epochs + 1)
    ]
    prototypes = [epoch["state_dict"]["head.last_layer.weight_v"] for epoch in after]
    for epoch, (before, later) in enumerate(pairwise(prototypes), start=2):
        assert torch.equal(before, later) is (epoch <= frozen), f"epoch {epoch}"
    temperatures, _ = after[-1]["message_hub"]["log_scalars"]["train/teacher_temp"].data
    warmup, final = cfg.default_hooks.teacher_temp_warmup, cfg.model.loss.teacher_temp
    assert temperatures[0] == (warmup.start if warmup.epochs else final)
    assert temperatures[-1] == final
    if cfg.get("val_cfg"):
        (scalars,) = work_dir.rglob("scalars.json")
        assert any("knn/top1" in json.loads(line) for line in scalars.read_text().splitlines())


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path not in SHARDED], ids=lambda path: path.stem
)
def test_trains(path, images, tmp_path):
    main(arguments(path, images, tmp_path))
    assert_trained(path, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", SHARDED, ids=lambda path: path.stem)
def test_trains_sharded_over_two_processes(path, images, tmp_path):
    config, *options = arguments(path, images, tmp_path)
    # Two ranks have an epoch of one micro-batch.
    options.append("optim_wrapper.accumulative_counts=1")
    subprocess.run(
        [ROOT / "tools" / "dist_train.sh", config, "2", *options],
        env=tiny_run.script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo"),
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    assert_trained(path, tmp_path)
