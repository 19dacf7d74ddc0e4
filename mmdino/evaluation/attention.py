"""Attention of the class token in a ViT's last block, as maps and as masks, at any image size.

Caron et al. 2021, section 4.2.2 and figures 1 and 4.
"""

from __future__ import annotations

from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdino.evaluation.image_input import IMAGENET, Statistics, network_input
from mmdino.evaluation.protocol import FRACTION

ROUNDING = 1e-6


def require_attention(backbone: nn.Module, channels: int = 3) -> None:
    """Checks that a network is a ViT on images of some channels.

    Args:
        backbone: The network.
        channels: Channels of the images; the tools read colours.

    Raises:
        ValueError: If it is not.
    """
    if not hasattr(backbone, "class_token_attention"):
        raise ValueError(
            f"A {type(backbone).__name__} has no attention to show. Use the checkpoint of a ViT "
            "(mmdino.VisionTransformer)."
        )
    taken = backbone.patch_embed.projection.in_channels
    if taken != channels:
        raise ValueError(
            f"The network takes images of {taken} channel(s), and these have {channels}. Of others "
            "than colours, mmdino report shows maps; for one of your own, normalise images and "
            "call class_token_attention of the backbone."
        )


def attention_maps(
    backbone: nn.Module,
    image: np.ndarray,
    size: int | None = None,
    statistics: Statistics = IMAGENET,
) -> Tensor:
    """Computes the attention of the class token in the last block.

    Args:
        backbone: ``mmdino.VisionTransformer`` in eval mode.
        image: (H, W, C) uint8 or float32, 0 to 255; colours in RGB.
        size: Shorter side, in pixels, at which the image enters the network; None for its own.
        statistics: Of the C channels.

    Returns:
        Attention (heads, h, w) to each patch, float32 on the CPU. A head sums to 1 minus the
        attention of the class token to itself.

    Raises:
        ValueError: If the network has no attention, the image has other channels, is smaller than
            a patch or has too many, or the attention is not finite.
    """
    require_attention(backbone, len(statistics.mean))
    weight = backbone.patch_embed.projection.weight
    pixels = network_input(image, weight.shape[-1], size, weight, statistics)
    with torch.no_grad():
        maps = backbone.class_token_attention(pixels)
    maps = maps[0].float().cpu()
    if not maps.isfinite().all():
        raise ValueError(
            "The attention is not finite. Check the network's weights: training may have diverged, "
            "or a file may be damaged."
        )
    return maps


def check_fraction(fraction: float) -> None:
    """Checks a fraction of attention mass.

    Raises:
        ValueError: If it is out of range.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, Real) or not 0 < fraction <= 1:
        raise ValueError(
            f"invalid fraction={fraction!r} of the attention mass in a mask: expected a number "
            f"above 0 and at most 1. The paper's is {FRACTION}."
        )


def attention_mask(maps: Tensor, fraction: float = FRACTION) -> Tensor:
    """Selects the smallest set of patches that holds a fraction of a map's mass.

    Args:
        maps: Attention (..., h, w), not negative.
        fraction: Fraction of the sum of each map, above 0 and at most 1.

    Returns:
        Masks (..., h, w), bool.

    Raises:
        ValueError: If ``fraction`` is out of range, or a map is not finite, negative or all 0.
    """
    check_fraction(fraction)
    if maps.dim() < 2 or not maps.numel():
        raise ValueError(f"Attention needs maps (..., h, w), got shape {tuple(maps.shape)}.")
    if not maps.isfinite().all():
        raise ValueError(
            "The attention is not finite. Check the network's weights: training may have diverged, "
            "or a file may be damaged."
        )
    if (maps < 0).any() or (maps.flatten(-2).sum(-1) <= 0).any():
        raise ValueError("Attention must be at least 0, and above 0 somewhere in each map.")
    mass = maps.double().flatten(-2)
    mass, order = (mass / mass.sum(-1, keepdim=True)).sort(dim=-1, descending=True, stable=True)
    before = mass.cumsum(-1) - mass
    # Attention is float32: without the margin, a fraction held exactly would take one patch more.
    kept = before < fraction - ROUNDING
    return torch.zeros_like(kept).scatter(-1, order, kept).unflatten(-1, maps.shape[-2:])


def resize_maps(maps: Tensor, shape: tuple[int, int], mode: str = "nearest") -> Tensor:
    """Enlarges maps or masks of patches to the size of an image.

    Args:
        maps: Maps (K, h, w), numbers or bool.
        shape: Height H and width W in pixels.
        mode: ``"nearest"`` shows each patch as a rectangle, as the authors do; ``"bilinear"``
            interpolates.

    Returns:
        Maps (K, H, W) of the same type.

    Raises:
        ValueError: If ``mode`` is another.
    """
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"invalid mode={mode!r}: expected 'nearest' or 'bilinear'.")
    # torch's "nearest" samples at the corner of a pixel, which shifts patches whose size is not a
    # whole number of pixels.
    exact = "nearest-exact" if mode == "nearest" else mode
    resized = functional.interpolate(maps[None].to(torch.float32), size=shape, mode=exact)[0]
    return resized > 0.5 if maps.dtype == torch.bool else resized.to(maps.dtype)
