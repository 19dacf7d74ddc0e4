"""A DINOv2 run small enough for a test."""

from __future__ import annotations

import tiny_run
import torch

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
