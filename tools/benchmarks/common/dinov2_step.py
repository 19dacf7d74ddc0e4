"""DINOv2's training step as Runner and hooks run it, without either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

import torch
from mmengine.registry import MODELS
from torch import Tensor

from common.dino_step import architecture, made_ready, training_step
from mmdino.datasets.block_masks import batch_masks
from mmdino.models import DINOv2

MASK_RATIO = (0.1, 0.5)
"""Smallest and largest fraction of a crop's patches that are masked (Oquab et al. 2023)."""
DROP_PATH_RATE = 0.3
"""Stochastic depth of the authors' short recipe, which ``configs/_base_/models`` has too."""


class Masks(NamedTuple):
    """Masks of the global views of a batch."""

    masks: Tensor
    """Masks (2, B, P), True where a patch is masked."""
    mask_indices: Tensor
    """Positions (M,) of the masked patches in the flattened masks."""
    most: int
    """Largest number of patches that such masks may have, the authors' ``upperbound``."""


def draw_masks(batch_size: int, side: int, device: str | torch.device = "cpu") -> Masks:
    """Draws the masks of two global views of a batch, as the authors do.

    Args:
        batch_size: Number B of images.
        side: Patches along a side of a view.
        device: Where the masks are put.
    """
    crops = 2 * batch_size
    masks = torch.from_numpy(batch_masks(crops, (side, side), Random(0), ratio=MASK_RATIO))
    masks = masks.view(2, batch_size, -1).to(device)
    masked = crops // 2
    low, high = MASK_RATIO
    edges = (low + (high - low) * index / masked for index in range(1, masked + 1))
    most = sum(int(side**2 * edge) for edge in edges)
    return Masks(masks, masks.flatten().nonzero().squeeze(1), most)


def build_dinov2(
    arch: str | dict,
    patch_size: int,
    img_size: int,
    prototypes: int,
    device: str | torch.device,
    shared_head: bool = False,
    compile: dict | None = None,
    **backbone: Any,
) -> DINOv2:
    """Builds DINOv2 as in the pretraining configs, ready for :func:`dinov2_step`.

    Args:
        arch: mmpretrain's name of the ViT, or a dict of its sizes.
        patch_size: Side of a patch, in pixels.
        img_size: Side of the global views, in pixels.
        prototypes: Number K of prototypes of each head.
        device: Device of the model.
        shared_head: Whether class tokens and patches have one head; else each has its own.
        compile: The model's option of the same name.
        **backbone: Other options of the backbone.
    """
    head = {
        "type": "mmdino.DINOHead",
        "in_channels": architecture(arch)["embed_dims"],
        "out_channels": prototypes,
        "norm_last_layer": False,
    }
    model = MODELS.build(
        {
            "type": "mmdino.DINOv2",
            "backbone": {
                "type": "mmdino.VisionTransformer",
                "arch": arch,
                "img_size": img_size,
                "patch_size": patch_size,
                "out_type": "features",
                "mask_token": True,
                "token_std": 1e-6,
                "layer_scale_init_value": 1e-5,
                "drop_path_rate": DROP_PATH_RATE,
                "drop_path_uniform": True,
                "drop_path_rows": True,
                **backbone,
            },
            "head": head,
            "patch_head": None if shared_head else head,
            "compile": compile,
        }
    )
    return made_ready(model, device)


def dinov2_step(model: DINOv2, dtype: torch.dtype | None) -> Callable[..., Tensor]:
    """Returns a function that trains on views and their masks, and returns the loss.

    Args:
        model: Result of :func:`build_dinov2`.
        dtype: Dtype of autocast; None disables it.
    """
    train = training_step(model, dtype, "per_network")

    def step(inputs: Sequence[Tensor], masks: Tensor, mask_indices: Tensor) -> Tensor:
        batch = {"inputs": inputs, "masks": masks, "mask_indices": mask_indices}
        return train(batch)["loss"]

    return step
