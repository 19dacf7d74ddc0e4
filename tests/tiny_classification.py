"""A linear evaluation or fine-tuning small enough for a test: a shipped config, shrunk."""

from __future__ import annotations

import cv2
import numpy as np
from mmengine.config import Config

SIDE = 32
WIDTH = 12
DEPTH = 4
CLASSES = 6


def write_images(root, split, count=4):
    """Writes a folder of images for each of six classes; returns their parent."""
    rng = np.random.default_rng(len(split))
    for label in range(CLASSES):
        folder = root / split / f"class_{label}"
        folder.mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 100, (SIDE, SIDE, 3)) + 25 * label
            cv2.imwrite(str(folder / f"{index}.png"), image.astype(np.uint8))
    return root


def shrunk(path, images, work_dir, checkpoint=None):
    """Reads a shipped config and makes of it a run of seconds, as :func:`shrink` does.

    Args:
        path: The config.
        images: Folder with ``train`` and ``val``, for configs that read one.
        work_dir: Where output goes.
        checkpoint: What to start from; None starts untrained.
    """
    cfg = Config.fromfile(path)
    for split in ("train", "val"):
        dataset = cfg[f"{split}_dataloader"].dataset
        if dataset.type != "mmdino.DrawnShapes":
            dataset.data_root = str(images / split)
    shrink(cfg)
    backbone = backbone_of(cfg.model)
    if checkpoint is None:
        backbone.init_cfg = None
    else:
        backbone.init_cfg.checkpoint = str(checkpoint)
    if cfg.train_dataloader.dataset.type == "mmdino.ImageFolder":
        set_classes(cfg.model, CLASSES)
    cfg.env_cfg.dist_cfg.backend = "gloo"
    cfg.log_level = "ERROR"
    cfg.work_dir = str(work_dir)
    # Runs of one name share mmengine's global message hub.
    cfg.experiment_name = f"classification-{len(_names)}"
    _names.append(cfg.experiment_name)
    return cfg


def shrink_vit(backbone, side):
    """Makes the config of a ViT, with any encoding of positions, one of the tests' size."""
    encoding = backbone.get("position_encoding") or {}
    rotary = encoding.get("type") == "mmdino.RotaryPositions"
    if rotary:
        encoding.head_dims = WIDTH // 3
    elif encoding:
        encoding.update(num_heads=2, grid=side // backbone.patch_size)
    backbone.img_size = side
    backbone.arch = {
        "embed_dims": WIDTH,
        "num_layers": DEPTH,
        "num_heads": 3 if rotary else 2,
        "feedforward_channels": 4 * WIDTH,
    }


def shrink(cfg):
    """Makes a config of a classifier one of a run of seconds, on the images that it names.

    What the config says of pipelines, heads, losses, schedules and hooks stays. Images become 32
    pixels (28 for patches of 14), a ViT 12 wide and 4 deep, a Swin as deep and narrower, a
    ResNet-50 a narrow ResNet-18, the run one epoch.
    """
    side = SIDE - SIDE % backbone_of(cfg.model).get("patch_size", 1)
    for split in ("train", "val"):
        _shrink_loader(cfg[f"{split}_dataloader"], side)
    _shrink_model(cfg.model, side)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    for scheduler in cfg.param_scheduler:
        if "warmup" in scheduler:
            scheduler.warmup = 0
    cfg.default_hooks.logger.interval = 1


def set_classes(model, classes):
    """Gives a classifier another number of classes."""
    model.head.num_classes = classes
    if "num_classes" in model.data_preprocessor:
        model.data_preprocessor.num_classes = classes


def backbone_of(model):
    """Config of the backbone of a classifier, frozen or not."""
    frozen = model.backbone.type == "mmdino.FrozenBackbone"
    return model.backbone.backbone if frozen else model.backbone


def _shrink_loader(loader, side):
    loader.update(batch_size=8, num_workers=0, persistent_workers=False, pin_memory=False)
    # mmengine collects garbage when it serialises.
    loader.dataset.serialize_data = False
    if loader.dataset.type == "mmdino.DrawnShapes":
        loader.dataset.update(num_images=20, image_size=side)
    for step in loader.dataset.pipeline:
        if step["type"] == "RandomResizedCrop":
            step["scale"] = side
        elif step["type"] == "ResizeEdge":
            step["scale"] = side + 4
        elif step["type"] == "CenterCrop":
            step["crop_size"] = side


def _shrink_model(model, side):
    frozen = model.backbone.type == "mmdino.FrozenBackbone"
    backbone = backbone_of(model)
    if backbone.type == "mmdino.ResNet":
        backbone.update(depth=18, stem_channels=8, base_channels=8)
        model.head.in_channels = 64
    elif backbone.type == "mmdino.SwinTransformerV2":
        arch = {"embed_dims": 4, "depths": [1, 1, 2], "num_heads": [1, 2, 4]}
        backbone.update(arch={**arch, "extra_norm_every_n_blocks": 0}, img_size=side)
        backbone.update(window_size=[8, 4, 2], out_indices=(2,))
        model.head.in_channels = 16
    else:
        blocks = len(backbone.get("out_indices", [-1]))
        shrink_vit(backbone, side)
        if frozen:
            backbone.out_indices = list(range(DEPTH - blocks, DEPTH))
            blocks += bool(model.neck.get("mean_patch"))
        model.head.in_channels = blocks * WIDTH
        if "in_channels" in (model.get("neck") or {}):
            model.neck.in_channels = model.head.in_channels


_names: list[str] = []
