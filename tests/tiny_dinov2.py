"""A DINOv2 run small enough for a test."""

from __future__ import annotations

import tiny_run
import torch
from mmengine.registry import MODELS

VIEW, PATCH = 32, 8


def model(**options):
    """Config of DINOv2 with a ViT of width 12."""
    dino = tiny_run.vit_model()
    return {
        **dino,
        "type": "mmdino.DINOv2",
        "backbone": {**dino["backbone"], "out_type": "features", "mask_token": True},
        "head": {**dino["head"], "norm_last_layer": False},
        **options,
    }


def batch(batch_size=4, sizes=(VIEW, VIEW, 16, 16), masked=3):
    """Views and masks of a batch, in which each other global crop has ``masked`` patches masked."""
    generator = torch.Generator().manual_seed(1)
    views = [
        torch.randn(batch_size, 3, size, size, generator=generator, dtype=torch.float64)
        for size in sizes
    ]
    masks = torch.zeros(2, batch_size, (VIEW // PATCH) ** 2, dtype=torch.bool)
    masks[:, ::2, :masked] = True
    return {
        "inputs": views,
        "masks": masks,
        "mask_indices": masks.flatten().nonzero().squeeze(1),
    }


TEACHER_ARCH = {"embed_dims": 20, "num_layers": 3, "num_heads": 4, "feedforward_channels": 40}


def larger(**options):
    """Config of DINOv2 with a ViT of width 20."""
    cfg = model()
    return {
        **cfg,
        "backbone": {**cfg["backbone"], "arch": TEACHER_ARCH},
        "head": {**cfg["head"], "in_channels": 20},
        **options,
    }


def write_teacher(path, seed=5, **options):
    """Writes a checkpoint of the larger network, all of whose tensors are random; returns it."""
    network = MODELS.build(larger(**options))
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.parameters():
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    torch.save({"state_dict": network.state_dict()}, path)
    return network


def frozen_teacher(checkpoint, **changes):
    """Config of the frozen teacher in a checkpoint of :func:`write_teacher`."""
    cfg = larger()
    return {
        "backbone": cfg["backbone"],
        "head": cfg["head"],
        "checkpoint": str(checkpoint),
        **changes,
    }


def distillation(checkpoint, **options):
    """Config of a distillation into the ViT of width 12."""
    cfg = model(**options)
    backbone = {**cfg["backbone"], "mask_token": False}
    return {**cfg, "backbone": backbone, "frozen_teacher": frozen_teacher(checkpoint), **options}
