"""Every config of the six methods beside DINO trains past its phases, as a user would start it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from tiny_configs import read_config
from tiny_pretraining import backbone_changes, dataset_changes, main, write_images
from torch.optim.optimizer import register_optimizer_step_post_hook

ROOT = Path(__file__).parents[2]
METHODS = ("barlowtwins", "byol", "mocov3", "simclr", "simsiam", "swav")
CONFIGS = sorted(path for name in METHODS for path in (ROOT / "configs" / name).glob("*.py"))
WIDTH = 8  # of what a head gives
BATCH = 4  # 12 images: three iterations an epoch
EPOCHS, FROZEN_EPOCHS, QUEUE_START = 3, 2, 1


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return write_images(tmp_path_factory.mktemp("images"))


def model_changes(cfg):
    """What makes the networks tiny."""
    sizes = {"hid_channels": WIDTH, "out_channels": WIDTH}
    changes = {f"model.head.{key}": value for key, value in sizes.items()}
    changes |= backbone_changes(cfg.model.backbone)
    if "ResNet" in cfg.model.backbone.type:
        changes |= {"model.backbone.depth": 18, "model.head.in_channels": 32}
    if cfg.model.get("predictor"):
        sizes["in_channels"] = WIDTH
        changes |= {f"model.predictor.{key}": value for key, value in sizes.items()}
    if cfg.model.get("micro_batch"):
        changes["model.micro_batch"] = 2
    if cfg.model.loss.type == "mmdino.SwAVLoss":
        changes |= {"model.loss.in_channels": WIDTH, "model.loss.num_prototypes": 6}
    if cfg.model.loss.get("queue_length"):
        changes["model.loss.queue_length"] = 2 * BATCH
    return changes


def size_changes(cfg):
    """What makes ImageNet's images and views small; the number of views stays."""
    if "imagenet" not in cfg.get("data_root", ""):
        return {}
    changes = {}
    views = cfg.train_dataloader.dataset.pipeline[1].views
    for index, view in enumerate(views):
        size = 64 if view.size == 224 else 32
        changes[f"train_dataloader.dataset.pipeline.1.views.{index}.size"] = size
    for loader in ("val_dataloader", "val_cfg.bank_dataloader"):
        changes[f"{loader}.dataset.pipeline.1.scale"] = 36
        changes[f"{loader}.dataset.pipeline.2.crop_size"] = 32
    return changes


def hook_changes(cfg):
    """What brings the phases of a run into its epochs."""
    changes = {}
    if "last_layer_freeze" in cfg.default_hooks:
        by_steps = cfg.default_hooks.last_layer_freeze.steps is not None
        changes |= (
            {"default_hooks.last_layer_freeze.steps": FROZEN_EPOCHS * 12 // BATCH}
            if by_steps
            else {"default_hooks.last_layer_freeze.epochs": FROZEN_EPOCHS}
        )
    if "queue_start" in cfg.default_hooks:
        changes["default_hooks.queue_start.epochs"] = QUEUE_START
    if cfg.param_scheduler[0].warmup:
        changes["param_scheduler.0.warmup"] = 1
    return changes


def epochs_of(cfg):
    """Length of a run: longer where prototypes are frozen at first."""
    return EPOCHS if "last_layer_freeze" in cfg.default_hooks else 2


def arguments(path, images, work_dir):
    """The command line that makes a config a run of seconds."""
    cfg = read_config(path)
    counts = cfg.optim_wrapper.get("accumulative_counts", 1)
    changes = {
        "experiment_name": f"family-{path.stem}",
        "log_level": "ERROR",
        "train_cfg.max_epochs": epochs_of(cfg),
        "train_cfg.val_interval": epochs_of(cfg),
        "optim_wrapper.accumulative_counts": min(counts, 2),
        "train_dataloader.batch_size": BATCH,
        "train_dataloader.persistent_workers": False,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.checkpoint.max_keep_ckpts": -1,
        "default_hooks.logger.interval": 1,
        "default_hooks.training_figure": None,
        **model_changes(cfg),
        **size_changes(cfg),
        **hook_changes(cfg),
    }
    loaders = {
        "train_dataloader": cfg.train_dataloader,
        "val_dataloader": cfg.val_dataloader,
        "val_cfg.bank_dataloader": cfg.val_cfg.bank_dataloader,
    }
    for name, loader in loaders.items():
        changes |= {f"{name}.num_workers": 0, f"{name}.pin_memory": False}
        changes |= dataset_changes(name, loader, images)
    options = [f"{key}={value}" for key, value in changes.items()]
    return [str(path), "--work-dir", str(work_dir), "--cfg-options", *options]


def tiny_model(cfg):
    """The model of a config with tiny networks."""
    cfg.merge_from_dict(model_changes(cfg))
    return MODELS.build(cfg.model)


@pytest.fixture
def rates():
    """Learning rates of each step, by whether they are to stay constant and whether of weights."""
    rows = []

    def note(optimizer, *_):
        groups = optimizer.param_groups
        rows.append({(g.get("constant_lr", False), g.get("decayed")): g["lr"] for g in groups})

    handle = register_optimizer_step_post_hook(note)
    yield rows
    handle.remove()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains(path, images, tmp_path, rates):
    main(arguments(path, images, tmp_path))
    cfg = read_config(path)
    after = [
        torch.load(tmp_path / f"epoch_{epoch}.pth", weights_only=False)["state_dict"]
        for epoch in range(1, epochs_of(cfg) + 1)
    ]
    assert_moved(tiny_model(cfg), after)
    assert_frozen(cfg.model.backbone, after)
    assert_rates(cfg.optim_wrapper.get("paramwise_cfg", {}), rates)
    if "queue_start" in cfg.default_hooks:
        count = [int(epoch["loss_function.queue.count"]) for epoch in after]
        assert count == [0, 2 * BATCH, 2 * BATCH]
    (scalars,) = tmp_path.rglob("scalars.json")
    assert any("knn/top1" in json.loads(line) for line in scalars.read_text().splitlines())


def assert_moved(model, after):
    """What is trained moves in every epoch, and so does the teacher; what is frozen stays."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    moved = {}
    for name, _ in model.named_parameters():
        learns = name.removeprefix("teacher.") in trained
        part = part_of(name)
        steps = [not torch.equal(before[name], later[name]) for before, later in pairwise(after)]
        moved.setdefault((part, learns), []).append(steps)
    for (part, learns), steps in moved.items():
        expected = [learns] * (len(after) - 1)
        if part == "loss_function":
            expected = [epoch >= FROZEN_EPOCHS for epoch in range(1, len(after))]
        assert [any(epoch) for epoch in zip(*steps, strict=True)] == expected, part


def assert_frozen(backbone, after):
    """MoCo v3's patch projection stays as it was drawn, its positions are no parameter to train."""
    if not backbone.get("stop_grad_conv1"):
        return
    frozen = ("patch_embed.projection.weight", "patch_embed.projection.bias", "pos_embed")
    for name in (f"{part}backbone.{name}" for part in ("", "teacher.") for name in frozen):
        assert all(torch.equal(after[0][name], later[name]) for later in after[1:]), name


def assert_rates(paramwise, rates):
    """Biases and norms have their fraction of the rate, and a constant rate is constant."""
    if "one_dim_lr_mult" in paramwise:
        expected = [paramwise["one_dim_lr_mult"] * row[False, True] for row in rates]
        assert [row[False, False] for row in rates] == pytest.approx(expected)
    if "constant_lr" in paramwise:
        assert len({row[True, True] for row in rates}) == 1
        assert len({row[False, True] for row in rates}) > 1


def part_of(name):
    """Which network a parameter belongs to: "backbone", "teacher.head", ..."""
    first, _, rest = name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "teacher" else first
