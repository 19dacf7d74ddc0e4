"""A checkpoint of an untrained ViT with patches of 8 pixels and two heads."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.registry import MODELS
from tiny_run import resnet_model, vit_model

from mmdino.evaluation.image_input import Statistics

HEADS = ("--num-heads", "2")


OWN = Statistics((127.5, 127.5, 127.5), (40.0, 90.0, 140.0))
"""Mean and deviation that are not ImageNet's."""


def save_checkpoint(path, statistics=None):
    """Writes a checkpoint as a training run does, student and teacher apart; returns its path.

    Args:
        path: The file.
        statistics: Mean and deviation in the config of the run; by default it has no config.
    """
    torch.manual_seed(0)
    model = MODELS.build(vit_model())
    for parameter in model.teacher.parameters():
        # Far enough from even attention that heads differ to the eye.
        parameter.data += 0.3 * torch.randn_like(parameter)
    meta = {}
    if statistics is not None:
        preprocessor = {"mean": list(statistics.mean), "std": list(statistics.std)}
        meta["cfg"] = f"model = {dict(data_preprocessor=preprocessor)}"
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    return path


def save_resnet(path):
    """Writes the tensors of a narrow ResNet; returns its path."""
    model = MODELS.build({**resnet_model()["backbone"], "type": "mmpretrain.ResNet", "depth": 50})
    torch.save(model.state_dict(), path)
    return path


def picture(seed=0, height=40, width=56):
    """A bright disc on a dark ground, with noise: (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    centre = rng.uniform(0.3, 0.7, size=2) * (height, width)
    disc = np.hypot(row - centre[0], column - centre[1]) < height / 4
    image = rng.integers(0, 60, size=(height, width, 3))
    return (image + 180 * disc[..., None]).astype(np.uint8)
