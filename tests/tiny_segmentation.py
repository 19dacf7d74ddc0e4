"""A segmentation run small enough for a test: a shipped config, shrunk, on a folder of noise."""

from __future__ import annotations

from importlib import metadata

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_classification import DEPTH, WIDTH

CROP = 64
MMCV_LITE = any(metadata.distributions(name="mmcv-lite"))
"""Whether mmcv is the one without compiled operators, beside which mmseg does not import."""


def write_folder(root, ids, size=(70, 100), count=2):
    """Writes a folder in ADE20K's layout, with masks of random ids.

    Args:
        root: The folder.
        ids: Ids of the masks.
        size: Height and width; no multiple of a patch, so that padding shows.
        count: Images in each of training and validation.
    """
    rng = np.random.default_rng(0)
    for split in ("training", "validation"):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
            # Blocks, since a crop all of one class would tell nothing.
            blocks = rng.choice(ids, (size[0] // 10, size[1] // 10)).astype(np.uint8)
            mask = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(root / "images" / split / f"{index}.jpg"), image)
            cv2.imwrite(str(root / "annotations" / split / f"{index}.png"), mask)
    return root


def shrunk(path, data_root, work_dir, iters=2):
    """Reads a shipped config and makes its run one of a second or two; it starts untrained."""
    cfg = Config.fromfile(path)
    shrink(cfg, iters)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        cfg[name].dataset.data_root = str(data_root)
    vit_of(cfg.model).init_cfg = None
    cfg.env_cfg.dist_cfg.backend = "gloo"
    cfg.log_level = "ERROR"
    cfg.work_dir = str(work_dir)
    # Runs of one name share mmengine's global message hub.
    cfg.experiment_name = f"segmentation-{len(_names)}"
    _names.append(cfg.experiment_name)
    return cfg


def shrink(cfg, iters=2):
    """Makes a config of a segmentor one of a run of a second or two, on the images it names."""
    crop = CROP - CROP % vit_of(cfg.model).get("patch_size", 1)
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = cfg[name]
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.serialize_data = False
        _shrink_pipeline(loader.dataset.pipeline, crop)
    cfg.train_dataloader.batch_size = 2
    _shrink_model(cfg.model, crop)
    cfg.train_cfg.update(max_iters=iters, val_interval=iters)
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = iters
    cfg.param_scheduler = [{"type": "ConstantLR", "factor": 1, "by_epoch": False}]


def run(cfg):
    """Trains, validates and tests; returns the runner and what the test found."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, runner.test()


def vit_of(model):
    """Config of the ViT of a segmentor, frozen or not."""
    return model.backbone.get("backbone", model.backbone)


def _shrink_pipeline(pipeline, crop):
    for step in pipeline:
        if "scale" in step:
            step.scale = (2 * crop, crop)
        if "crop_size" in step:
            step.crop_size = (crop, crop)


def _shrink_model(model, crop):
    model.data_preprocessor.size = (crop, crop)
    model.test_cfg.update(crop_size=(crop, crop), stride=(42, 42))
    backbone = vit_of(model)
    if backbone.type == "mmdino.ResNet":
        backbone.update(stem_channels=WIDTH, base_channels=WIDTH // 4)
        widths = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
    else:
        outputs = len(backbone.out_indices)
        backbone.out_indices = list(range(DEPTH - outputs, DEPTH))
        encoding = backbone.get("position_encoding") or {}
        rotary = encoding.get("type") == "mmdino.RotaryPositions"
        backbone.arch = {
            "embed_dims": WIDTH,
            "num_layers": DEPTH,
            "num_heads": 3 if rotary else 2,
            "feedforward_channels": 4 * WIDTH,
        }
        if rotary:
            encoding.head_dims = WIDTH // 3
        elif encoding:
            encoding.update(num_heads=2, grid=crop // backbone.patch_size)
        widths = [WIDTH] * outputs
        if model.neck is not None and "embed_dim" in model.neck:
            model.neck.embed_dim = WIDTH
        elif model.neck is not None:
            model.neck.in_channels = widths
    for head in (model.decode_head, model.get("auxiliary_head")):
        if head is not None:
            _shrink_head(head, widths)


def _shrink_head(head, widths):
    indices = head.in_index
    head.in_channels = widths[indices] if isinstance(indices, int) else [widths[i] for i in indices]
    linear = head.get("num_convs") == 0
    head.channels = sum(widths[i] for i in _listed(indices)) if linear else WIDTH


def _listed(indices):
    return [indices] if isinstance(indices, int) else indices


_names: list[str] = []
