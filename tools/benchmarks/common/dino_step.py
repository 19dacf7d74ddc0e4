"""DINO's training step as Runner and hooks run it, without either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

import mmdino  # noqa: F401
from common.plain_step import CLIP_NORM, LR, MOMENTUM, WEIGHT_DECAY
from mmdino.engine.hooks.ema_teacher_hook import move_teacher_
from mmdino.engine.optimizers import DecayGroupsConstructor
from mmdino.models import DINO
from mmdino.models.losses import CenteredLoss
from mmdino.weights.specs import VIT_ARCHS

DTYPES = {"fp32": None, "bf16": torch.bfloat16}


def build_dino(
    arch: str | dict,
    patch_size: int,
    img_size: int,
    prototypes: int,
    device: str | torch.device,
    compile: dict | None = None,
    data_preprocessor: dict | None = None,
    **backbone: Any,
) -> DINO:
    """Builds DINO as in the pretraining configs, ready for :func:`dino_step`.

    Args:
        arch: mmpretrain's name of the ViT, or a dict of its sizes.
        patch_size: Side of a patch, in pixels.
        img_size: Side of the global views, in pixels.
        prototypes: Number K of prototypes.
        device: Device of the model.
        compile: The model's option of the same name.
        data_preprocessor: The model's option of the same name.
        **backbone: Other options of the backbone.
    """
    backbone = {
        "type": "mmdino.VisionTransformer",
        "arch": arch,
        "img_size": img_size,
        "patch_size": patch_size,
        "drop_path_rate": 0.1,
        **backbone,
    }
    head = {
        "type": "mmdino.DINOHead",
        "in_channels": architecture(arch)["embed_dims"],
        "out_channels": prototypes,
    }
    model = MODELS.build(
        {
            "type": "mmdino.DINO",
            "backbone": backbone,
            "head": head,
            "compile": compile,
            "data_preprocessor": data_preprocessor,
        }
    )
    return made_ready(model, device)


def made_ready(model: DINO, device: str | torch.device) -> DINO:
    """Puts a model on its device, in train mode, for :func:`training_step`."""
    for need in model.needs:
        model.mark_met(need)
    return model.to(device).train()


def architecture(arch: str | dict) -> dict[str, int]:
    """Returns the sizes of a ViT, given as a dict or by mmpretrain's name.

    Raises:
        ValueError: If the name is not known.
    """
    if isinstance(arch, dict):
        return arch
    if arch not in VIT_ARCHS:
        raise ValueError(
            f"unknown --arch {arch!r}: expected one of {', '.join(sorted(VIT_ARCHS))}."
        )
    return VIT_ARCHS[arch]


def dino_step(model: DINO, dtype: torch.dtype | None) -> Callable[..., None]:
    """Returns a function that trains on views: preprocessing, optimiser, teacher and centre.

    It takes ``inputs``, V views (B, C, H, W), and optionally the ``data_samples`` of a loader.

    Args:
        model: Result of :func:`build_dino`.
        dtype: Dtype of autocast; None disables it.
    """
    train = training_step(model, dtype, "per_tensor")

    def step(
        inputs: Sequence[Tensor] | Sequence[Sequence[Tensor]],
        data_samples: Sequence[DataSample] | None = None,
    ) -> None:
        train({"inputs": inputs, "data_samples": data_samples})

    return step


def training_step(
    model: DINO, dtype: torch.dtype | None, clipping: str
) -> Callable[[dict[str, Any]], dict[str, Tensor]]:
    """Returns a function that trains on a batch: preprocessing, optimiser, teacher and centres.

    It returns what the model logs.

    Args:
        model: Result of :func:`made_ready`.
        dtype: Dtype of autocast; None disables it.
        clipping: Kind of clipping of ``StepOptimWrapper``.
    """
    optim_wrapper = DecayGroupsConstructor(
        {
            "type": "mmdino.StepOptimWrapper",
            "precision": str(dtype or torch.float32).removeprefix("torch."),
            "optimizer": {"type": "AdamW", "lr": LR, "weight_decay": WEIGHT_DECAY},
            "clip_grad": {"type": clipping, "max_norm": CLIP_NORM},
        }
    )(model)
    teacher, student = model.teacher_pairs()
    losses = [module for module in model.modules() if isinstance(module, CenteredLoss)]

    def step(batch: dict[str, Any]) -> dict[str, Tensor]:
        log = model.train_step(batch, optim_wrapper)
        move_teacher_(teacher, student, MOMENTUM)
        for loss in losses:
            loss.update_center()
        return log

    return step
