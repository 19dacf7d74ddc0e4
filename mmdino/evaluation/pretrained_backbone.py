"""A pretrained backbone with what it needs to be given images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmdino.evaluation.features import feature_of
from mmdino.evaluation.image_input import TRAINED_SIZE
from mmdino.evaluation.stored_input import stored_input
from mmdino.models.preprocessors.multi_view_preprocessor import normalise
from mmdino.weights.networks import (
    Network,
    backbone_weights,
    build_backbone,
    image_side,
    input_channels,
)


class Preprocessing(NamedTuple):
    """How images enter a backbone."""

    mean: tuple[float, ...]
    """Mean of each channel, 0 to 255; colours are red, green, blue."""
    std: tuple[float, ...]
    """Standard deviation of each channel, likewise."""
    size: int
    """Side in pixels that the network is made for; it takes other multiples of a patch too."""
    patch_size: int
    """Side of a patch in pixels; 32, the stride of a ResNet, for what is no ViT."""


class PretrainedBackbone(nn.Module):
    """A backbone in eval mode, without gradients, that maps images to features.

    Args:
        backbone: The network.
        preprocessing: How images enter it.

    Attributes:
        backbone: The network, whose own outputs are those of mmpretrain.
        preprocessing: How images enter it.
    """

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocessing = preprocessing
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).view(-1, 1, 1)
            self.register_buffer(f"_{name}", values, persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Normalises images (B, C, H, W) of 0 to 255, colours in the order red, green, blue."""
        return normalise(images, self._mean, self._std)

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (B, C, H, W) to features (B, D)."""
        return feature_of(self.backbone, images)


def load_backbone(
    path: str | Path,
    network: Network = "teacher",
    num_heads: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> PretrainedBackbone:
    """Loads the backbone of a checkpoint, of this project or another, to compute features.

    Args:
        path: File of weights, or its URL; see :func:`mmdino.weights.networks.backbone_weights`.
        network: Which network to use if the file has both.
        num_heads: Number of heads of a ViT, if neither the file nor the width determines it.
        mean: Mean of each channel, 0 to 255. By default that of the run, if the file has its
            config, else ImageNet's.
        std: Standard deviation of each channel, likewise.

    Returns:
        The backbone in eval mode, without gradients.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no known backbone, or mean and deviation of the channels are not
            known.

    Example:
        >>> backbone = mmdino.load_backbone("work_dirs/mine/epoch_40.pth")
        >>> backbone.preprocessing.size
        224
        >>> features = backbone(backbone.normalise(images))  # (B, 3, 224, 224), 0 to 255, to (B, D)
    """
    weights = backbone_weights(path, network, num_heads=num_heads)
    backbone = build_backbone(weights.config, weights.state_dict, f"{path} ({weights.layout})")
    channels = input_channels(backbone)
    stored = stored_input(weights.meta, may_fail=False)
    mean, std = tuple(mean or stored.mean), tuple(std or stored.std)
    if {len(mean), len(std)} != {channels}:
        raise ValueError(
            f"The backbone of {path} takes {channels} channel(s), but mean={mean} and std={std} "
            "were given or found. Give one of each for every channel: load_backbone(..., mean=..., "
            "std=...)."
        )
    size = image_side(weights.config, TRAINED_SIZE)
    patch = weights.config["patch_size"] if weights.kind == "vit" else 32
    return PretrainedBackbone(backbone, Preprocessing(mean, std, size, patch)).eval()
