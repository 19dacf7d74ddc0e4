"""Any shipped config, changed by any options, as a run of a second on the images that it names."""

from __future__ import annotations

import copy
import functools
import time
from pathlib import Path

import tiny_classification
import tiny_segmentation
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from tiny_classification import WIDTH, shrink_vit

from mmdino.config_check import config_files

LARGEST = 64
"""Side in pixels that a network for photographs is made smaller than."""
CHANNELS = 8
HEAD = {"out_channels": 32, "hidden_channels": 16, "bottleneck_channels": CHANNELS}
MLP = {"hid_channels": CHANNELS, "out_channels": CHANNELS}
VIEWS = (
    {"num": 2, "size": 224, "scale": (0.4, 1.0)},
    {"num": 8, "size": 96, "scale": (0.05, 0.4)},
)
"""What MultiCropTransform makes where a config does not say it."""
BATCH = 4
CONFIGS = Path(__file__).parents[1] / "configs"
_READ = config_files.read_config
_SHIPPED = functools.cache(_READ)


def read_config(path):
    """Reads a config as the tools do; a shipped one once, which takes as long as a small run."""
    file = Path(path).resolve()
    shipped = file.is_relative_to(CONFIGS) and file.is_file()
    return copy.deepcopy(_SHIPPED(str(file))) if shipped else _READ(path)


def shrink(cfg):
    """Makes a config a run of few iterations with a network 12 wide; all else is as it was."""
    if cfg.get("default_scope") == "mmseg":
        tiny_segmentation.shrink(cfg, iters=1)
    elif cfg.model.type == "ImageClassifier":
        tiny_classification.shrink(cfg)
        if "imagenet" in cfg.get("data_root", ""):
            tiny_classification.set_classes(cfg.model, tiny_classification.CLASSES)
    else:
        _shrink_pretraining(cfg)
    if "cifar10" in cfg.get("data_root", ""):
        # One of each class, in training too.
        cfg.train_dataloader.dataset.every = cfg.val_dataloader.dataset.every = 5
    cfg.log_level = "ERROR"
    # Runs of one name share mmengine's log and its global message hub.
    cfg.experiment_name = str(time.time_ns())


def plain_text(cfg):
    """A config as Python, in a line for each key."""
    content = cfg.to_dict() if isinstance(cfg, Config) else cfg
    return "".join(f"{key} = {value!r}\n" for key, value in content.items())


def _shrink_pretraining(cfg):
    sides = _sides(cfg)
    for backbone in backbones_of(cfg.model):
        _shrink_backbone(backbone, sides[0])
    _shrink_heads(cfg.model)
    _shrink_views(cfg, *sides)
    _shrink_loaders(cfg, sides[0])
    _shorten(cfg)


def backbones_of(model):
    """Configs of the backbones of a model of pretraining, those of its teachers included."""
    teachers = [model.get("frozen_teacher"), *(model.get("teachers") or ())]
    if model.type == "mmdino.FeatureDistillation":
        teachers.append(model.get("teacher"))
    return [model.backbone, *(teacher.backbone for teacher in teachers if teacher)]


def _sides(cfg):
    """Sides of global and local views."""
    largest = max(view["size"] for view in _crops(cfg).get("views") or VIEWS)
    if largest <= LARGEST:
        return largest, min(view["size"] for view in _crops(cfg).views)
    patch = cfg.model.backbone.get("patch_size", 16)
    return 4 * patch, 2 * patch


def _crops(cfg):
    """The step of the training pipeline that makes the views."""
    steps = cfg.train_dataloader.dataset.pipeline
    return next(step for step in steps if step["type"] == "mmdino.MultiCropTransform")


def _shrink_backbone(backbone, side):
    if "ResNet" in backbone.type:
        backbone.update(depth=18, stem_channels=CHANNELS, base_channels=CHANNELS)
        return
    shrink_vit(backbone, side)


def _shrink_heads(model):
    width = 8 * CHANNELS if "ResNet" in model.backbone.type else WIDTH
    frozen = model.get("frozen_teacher") or {}
    for head in (model.get("head"), model.get("patch_head"), frozen.get("head")):
        if head:
            head.update(HEAD if head.type == "mmdino.DINOHead" else MLP, in_channels=width)
    if model.get("predictor"):
        model.predictor.update(MLP, in_channels=CHANNELS)
    if model.get("micro_batch"):
        model.micro_batch = 2
    if model.get("koleo"):
        model.koleo.group_size = BATCH
    loss = model.get("loss") or {}
    if loss.get("type") == "mmdino.SwAVLoss":
        loss.update(in_channels=CHANNELS, num_prototypes=6)
        if loss.get("queue_length"):
            loss.queue_length = 2 * BATCH


def _shrink_views(cfg, global_side, local_side):
    crops = _crops(cfg)
    crops.views = [dict(view) for view in crops.get("views") or VIEWS]
    largest = max(view["size"] for view in crops.views)
    for view in crops.views:
        view["size"] = global_side if view["size"] == largest else local_side
        view["num"] = min(view["num"], 2)
        if "clean_size" in view:
            view["clean_size"] = 2 * global_side
    if "view_size" in cfg.train_dataloader.get("collate_fn", {}):
        cfg.train_dataloader.collate_fn.view_size = global_side


def _shrink_loaders(cfg, side):
    loaders = [cfg.train_dataloader, cfg.get("val_dataloader")]
    loaders.append((cfg.get("val_cfg") or {}).get("bank_dataloader"))
    for loader in filter(None, loaders):
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
        loader.batch_size = BATCH if loader is cfg.train_dataloader else 5 * BATCH
        loader.dataset.serialize_data = False
        if loader.dataset.type == "mmdino.DrawnShapes":
            # With all ten classes for the validation.
            loader.dataset.num_images = 2 * BATCH if loader is cfg.train_dataloader else 20
        for step in loader.dataset.pipeline:
            for name in ("scale", "crop_size"):
                if step["type"] in ("ResizeEdge", "CenterCrop") and step.get(name, 0) > LARGEST:
                    step[name] = side


def _shorten(cfg):
    """One epoch, with no phase before what goes on to the end of a run."""
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    if "val_at_start" in cfg.train_cfg:
        cfg.train_cfg.val_at_start = False
    cfg.optim_wrapper.accumulative_counts = 1
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 1
    # Drawing it takes longer than the training.
    cfg.default_hooks.pop("training_figure", None)
    for scheduler in cfg.param_scheduler:
        if "warmup" in scheduler:
            scheduler.warmup = 0
    for name in ("last_layer_freeze", "teacher_temp_warmup", "queue_start"):
        hook = cfg.default_hooks.get(name)
        if hook:
            hook.update({length: 0 for length in ("epochs", "steps") if hook.get(length)})
    gram = cfg.default_hooks.get("gram_anchor")
    if gram:
        # A teacher that has not learned yet is refused.
        first = 0 if cfg.get("load_from") else 1
        gram.update(start=first, first_refresh=first, warmup=0, refresh_interval=1)


def write_missing_weights(cfg, made):
    """Writes the files of weights that a small config starts from, where no command has made them.

    Args:
        cfg: The config.
        made: Files that were written here before, for other networks; those of this config are
            added.
    """
    init_default_scope(cfg.get("default_scope") or "mmengine")
    for path, content in weights_of(cfg):
        if path in made or may_be_made(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            torch.save(content(), path)
            made.add(path)


def may_be_made(path):
    """Whether a file is missing, and no run was there that should have left it."""
    return not Path(path).exists() and not Path(path).with_name("last_checkpoint").exists()


def weights_of(cfg):
    """Yields each file of weights that a config names, with what makes its content."""
    model = cfg.model
    if cfg.get("load_from"):
        yield cfg.load_from, lambda: {"state_dict": MODELS.build(model).state_dict()}
    backbone = model.backbone.get("backbone", model.backbone)
    if backbone.get("init_cfg"):
        yield backbone.init_cfg.checkpoint, lambda: _checkpoint(backbone=backbone)
    frozen = model.get("frozen_teacher")
    if frozen:
        parts = {name: frozen[name] for name in ("backbone", "head")}
        yield frozen.checkpoint, lambda: _checkpoint("teacher.", **parts)
    teachers = [*(model.get("teachers") or ())]
    if model.type == "mmdino.FeatureDistillation" and model.get("teacher"):
        teachers.append(model.teacher)
    for teacher in teachers:
        yield teacher.checkpoint, lambda of=teacher.backbone: _checkpoint(backbone=of)


def _checkpoint(prefix="", **parts):
    """What a run saves of some networks, with the config of the first."""
    networks = {name: {**part, "init_cfg": None} for name, part in parts.items()}
    state = {
        f"{prefix}{part}.{name}": tensor
        for part, network in networks.items()
        for name, tensor in MODELS.build(network).state_dict().items()
    }
    cfg = Config({"model": {"backbone": networks["backbone"]}})
    return {"state_dict": state, "meta": {"cfg": plain_text(cfg)}}
