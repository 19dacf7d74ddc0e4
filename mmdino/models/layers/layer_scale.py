"""A learned factor for each channel."""

from __future__ import annotations

from mmpretrain.models.utils import LayerScale
from torch import nn


def layer_scale(embed_dims: int, init_value: float) -> nn.Module:
    """Returns mmpretrain's ``LayerScale`` (Touvron et al. 2021), or the identity for a value of 0.

    Args:
        embed_dims: Number of channels.
        init_value: Initial factor of all channels.
    """
    if not init_value:
        return nn.Identity()
    return LayerScale(embed_dims, layer_scale_init_value=init_value)
