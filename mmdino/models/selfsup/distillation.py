"""Distillation of DINOv2: the targets come from a frozen, larger network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmdino.models.selfsup.base import check_channels, patch_grid, patch_stride
from mmdino.models.selfsup.frozen_network import FrozenNetwork

NAME = "model.frozen_teacher"
KEYS = ("backbone", "head", "patch_head", "checkpoint")
IF_MISSING = (
    "Released weights have no heads: train them first on the frozen backbone "
    "(configs/dinov2/dinov2_continue_vits14.py) and give the checkpoint of that run."
)


def build_frozen_teacher(
    cfg: Mapping[str, Any], student: Mapping[str, nn.Module], preprocessor: nn.Module, patches: bool
) -> FrozenNetwork:
    """Builds the teacher of a distillation.

    Args:
        cfg: Configs of its ``backbone``, ``head`` and, where the student has one, ``patch_head``,
            and ``checkpoint``, a checkpoint of a run of DINOv2.
        student: The parts of the student by name.
        preprocessor: The data preprocessor.
        patches: Whether the student learns from its patches too.

    Raises:
        ValueError: If keys are missing or unknown, or the networks cannot be compared: heads of
            other numbers of prototypes, patches of another size, other channels.
    """
    needed = {name for name in KEYS if name != "patch_head" or name in student}
    given = {name for name, value in dict(cfg).items() if value is not None}
    if given != needed:
        raise ValueError(
            f"{NAME} has {', '.join(sorted(given)) or 'nothing'}; it needs "
            f"{', '.join(name for name in KEYS if name in needed)}: the parts that the student "
            "has, and the file of their weights."
        )
    parts = {name: cfg[name] for name in KEYS if name in needed - {"checkpoint"}}
    frozen = FrozenNetwork(NAME, parts, cfg["checkpoint"], IF_MISSING)
    teacher = frozen.network
    for name in needed - {"backbone", "checkpoint"}:
        own, theirs = student[name].out_channels, teacher[name].out_channels
        if own != theirs:
            raise ValueError(
                f"model.{name} has out_channels={own}, {NAME}.{name} {theirs}. The student learns "
                f"the teacher's prototypes: set model.{name}.out_channels={theirs}."
            )
    if getattr(teacher["backbone"], "out_type", "features") != "features":
        raise ValueError(
            f"{NAME}.backbone has out_type={teacher['backbone'].out_type!r}. Set "
            f"{NAME}.backbone.out_type='features'."
        )
    own, theirs = patch_stride(student["backbone"]), patch_stride(teacher["backbone"])
    if patches and own != theirs:
        raise ValueError(
            f"The student has patches of {own} pixels, {NAME} of {theirs}, so that no patch of one "
            "is a patch of the other. Take a student with the teacher's patch_size, or leave the "
            "patches out: model.ibot_weight=0."
        )
    if getattr(student["backbone"], "mask_token", None) is not None:
        raise ValueError(
            f"The student has a mask token, but with {NAME} nothing is masked, and distributed "
            "wrappers want a gradient for each parameter. Set model.backbone.mask_token=False."
        )
    check_channels(teacher["backbone"], preprocessor)
    return frozen


def all_patches(views: Sequence[Tensor], backbone: nn.Module) -> tuple[Tensor, Tensor]:
    """Returns what a batch would have as masks if all patches of its views were masked.

    Args:
        views: G views, each (B, C, H, W).
        backbone: The backbone, which divides them into P patches.

    Returns:
        Masks (G, B, P), all True, and the positions (G * B * P,) of the patches in them.
    """
    num_patches = math.prod(patch_grid(backbone, views[0].shape[-2:]))
    masks = torch.ones(
        len(views), len(views[0]), num_patches, dtype=torch.bool, device=views[0].device
    )
    return masks, torch.arange(masks.numel(), device=masks.device)
