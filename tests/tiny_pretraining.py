"""A pretraining config as a run of seconds, started as a user would start it."""

from __future__ import annotations

import copy
import json
import runpy
from itertools import pairwise
from pathlib import Path

import tiny_classification
import torch
from mmengine.registry import MODELS
from tiny_configs import read_config

TEMP_EPOCHS = 2
WIDTH = 12
BANK = "val_cfg.bank_dataloader"
main = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "train.py"))["main"]


def write_images(folder):
    """Writes twelve images in six classes; returns their folder."""
    return tiny_classification.write_images(folder, "train", 2) / "train"


def epochs_of(cfg):
    """Length of a run that goes on for an epoch after the freeze and after the warm-up."""
    warmup = TEMP_EPOCHS if warms_up(cfg) else 0
    return 1 + max(cfg.default_hooks.last_layer_freeze.epochs, warmup, 1)


def warms_up(cfg):
    """Whether the teacher's temperature changes."""
    hook = cfg.default_hooks.teacher_temp_warmup
    return hook is not None and hook.epochs > 0


def arguments(path, images, work_dir):
    """The command line that makes a config a run of seconds."""
    cfg = read_config(path)
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
        # Tested by itself; it takes as long as the training here.
        "default_hooks.training_figure": None,
        **head_changes("model.head"),
        **backbone_changes(cfg.model.backbone),
        **masked_changes(cfg),
        **view_changes(cfg),
        **frozen_changes(cfg),
    }
    if warms_up(cfg):
        changes["default_hooks.teacher_temp_warmup.epochs"] = TEMP_EPOCHS
    changes |= dataset_changes("train_dataloader", cfg.train_dataloader, images)
    if cfg.get("val_cfg"):
        changes["train_cfg.val_interval"] = epochs
        bank = cfg.val_cfg.bank_dataloader
        for name, loader in (("val_dataloader", cfg.val_dataloader), (BANK, bank)):
            changes |= {f"{name}.num_workers": 0, f"{name}.pin_memory": False}
            changes |= dataset_changes(name, loader, images)
    changes |= weight_files(cfg, changes, Path(work_dir).with_name("weights.pth"))
    options = [f"{key}={value}" for key, value in changes.items()]
    return [str(path), "--work-dir", str(work_dir), "--cfg-options", *options]


def dataset_changes(name, loader, images):
    if loader.dataset.type == "mmdino.DrawnShapes":
        return {f"{name}.dataset.num_images": 12}
    return {f"{name}.dataset.data_root": images, f"{name}.dataset.every": 1}


def head_changes(name):
    return {
        f"{name}.out_channels": 32,
        f"{name}.hidden_channels": 16,
        f"{name}.bottleneck_channels": 8,
    }


def masked_changes(cfg):
    """What DINOv2's configs need beside: small views, a second head, no checkpoint."""
    if cfg.model.type != "mmdino.DINOv2":
        return {}
    changes = {}
    if cfg.model.get("patch_head"):
        changes |= {**head_changes("model.patch_head"), "model.patch_head.in_channels": WIDTH}
    if cfg.model.get("micro_batch"):
        changes["model.micro_batch"] = 2
    if cfg.get("load_from"):
        changes["load_from"] = None
    return changes


def view_changes(cfg):
    """What makes the views and images of a recipe for photographs small, where it names them."""
    crops = cfg.train_dataloader.dataset.pipeline[1]
    if crops.type != "mmdino.MultiCropTransform" or not crops.get("views"):
        return {}
    views, patch = crops.views, cfg.model.backbone.get("patch_size", 16)
    if views[0].size // patch <= 8:
        return {}
    global_size, local_size = 4 * patch, 2 * patch
    changes = {}
    if "img_size" in cfg.model.backbone:
        changes["model.backbone.img_size"] = global_size
    if "view_size" in cfg.train_dataloader.collate_fn:
        changes["train_dataloader.collate_fn.view_size"] = global_size
    for index, view in enumerate(views):
        size = global_size if view.size == views[0].size else local_size
        changes[f"train_dataloader.dataset.pipeline.1.views.{index}.size"] = size
    if cfg.get("val_cfg"):
        for name in ("val_dataloader", BANK):
            changes[f"{name}.dataset.pipeline.1.scale"] = global_size
            changes[f"{name}.dataset.pipeline.2.crop_size"] = global_size
    return changes


def frozen_changes(cfg):
    """What makes the frozen teacher of a distillation small, though wider than the student."""
    if not cfg.model.get("frozen_teacher"):
        return {}
    place, width = "model.frozen_teacher", 2 * WIDTH
    return {
        **head_changes(f"{place}.head"),
        f"{place}.head.in_channels": width,
        f"{place}.backbone.arch._delete_": True,
        f"{place}.backbone.arch.embed_dims": width,
        f"{place}.backbone.arch.num_layers": 1,
        f"{place}.backbone.arch.num_heads": 2,
        f"{place}.backbone.arch.feedforward_channels": width,
    }


def weight_files(cfg, changes, path):
    """Writes the weights that a config starts from; returns what names them."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    if cfg.model.get("frozen_teacher"):
        parts = {name: cfg.model.frozen_teacher[name] for name in ("backbone", "head")}
        state = {
            f"teacher.{part}.{name}": tensor
            for part, part_cfg in parts.items()
            for name, tensor in MODELS.build(part_cfg).state_dict().items()
        }
        torch.save({"state_dict": state}, path)
        return {"model.frozen_teacher.checkpoint": path}
    if cfg.model.backbone.get("init_cfg"):
        backbone = {name: cfg.model.backbone[name] for name in cfg.model.backbone}
        torch.save(MODELS.build({**backbone, "init_cfg": None}).state_dict(), path)
        return {"model.backbone.init_cfg.checkpoint": path}
    return {}


def backbone_changes(backbone):
    if "ResNet" in backbone.type:
        channels, expansion = 4, 4 if backbone.depth >= 50 else 1
        return {
            "model.backbone.stem_channels": channels,
            "model.backbone.base_channels": channels,
            "model.head.in_channels": 8 * expansion * channels,
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
    cfg = read_config(path)
    epochs, frozen = epochs_of(cfg), cfg.default_hooks.last_layer_freeze.epochs
    after = [
        torch.load(work_dir / f"epoch_{epoch}.pth", weights_only=False)
        for epoch in range(1, epochs + 1)
    ]
    heads = ["head", "patch_head"] if cfg.model.get("patch_head") else ["head"]
    for head in heads:
        layer = "weight_v" if cfg.model[head].get("weight_norm", True) else "weight"
        prototypes = [epoch["state_dict"][f"{head}.last_layer.{layer}"] for epoch in after]
        for epoch, (before, later) in enumerate(pairwise(prototypes), start=2):
            assert torch.equal(before, later) is (epoch <= frozen), f"{head}, epoch {epoch}"
    warmup = cfg.default_hooks.teacher_temp_warmup
    if warmup is not None:
        temperatures, _ = after[-1]["message_hub"]["log_scalars"]["train/teacher_temp"].data
        final = cfg.model.loss.teacher_temp
        assert temperatures[0] == (warmup.start if warmup.epochs else final)
        assert temperatures[-1] == final
    if cfg.get("val_cfg"):
        (scalars,) = work_dir.rglob("scalars.json")
        assert any("knn/top1" in json.loads(line) for line in scalars.read_text().splitlines())
