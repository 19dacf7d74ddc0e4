"""Attention of the class token in a ViT's last block, as maps and as masks, at any image size.

Caron et al. 2021, section 4.2.2 and figures 1 and 4.
"""

from __future__ import annotations

from numbers import Real

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.preprocessors.multi_view_preprocessor import IMAGENET_MEAN, IMAGENET_STD

FRACTION = 0.6
"""Fraction of a head's attention mass that a mask holds, in the paper."""

SIZE_PER_IMG_SIZE = 480 / 224
"""The authors visualise networks trained at 224 px at 480 px."""

ROUNDING = 1e-6

MAX_PATCHES = 2**17
"""Patches of an image, about those of a photograph of 3840 x 2160 pixels and patches of 8."""


def reference_size(backbone: nn.Module) -> int:
    """Returns the shorter side, in pixels, at which a network's attention is computed.

    That is 480 px for a network of 224 px, as the authors do, and in proportion for others: at much
    larger sizes a patch shows too little and the position embeddings are stretched too far.

    Raises:
        ValueError: If the network has no attention.
    """
    require_attention(backbone)
    return round(SIZE_PER_IMG_SIZE * min(backbone.img_size))


def viewing_size(backbone: nn.Module, image: np.ndarray) -> int:
    """Returns the default shorter side of an image: its own, at most :func:`reference_size`."""
    return min(*image.shape[:2], reference_size(backbone))


def require_attention(backbone: nn.Module) -> None:
    """Checks that a network is a ViT on colour images.

    Raises:
        ValueError: If it is not.
    """
    if not hasattr(backbone, "class_token_attention"):
        raise ValueError(
            f"A {type(backbone).__name__} has no attention to show. Use the checkpoint of a ViT "
            "(mmdino.VisionTransformer)."
        )
    channels = backbone.patch_embed.projection.in_channels
    if channels != 3:
        raise ValueError(
            f"The network takes images of {channels} channel(s), and the tools read colour images "
            "only. Normalise images of your own and call class_token_attention of the backbone."
        )


def input_shape(
    height: int, width: int, patch_size: int, size: int | None = None
) -> tuple[int, int]:
    """Computes the shape at which an image enters a network without being cropped.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        patch_size: Side of a patch in pixels.
        size: Shorter side in pixels; None for the image's own.

    Returns:
        Height and width at that size, each rounded to a multiple of the patch.

    Raises:
        ValueError: If the image, or ``size``, is smaller than a patch, or there would be more than
            ``MAX_PATCHES``.
    """
    own = min(height, width)
    if own < 1:
        raise ValueError(f"The image of {width} x {height} pixels is empty.")
    shorter = own if size is None else size
    if shorter < patch_size:
        raise ValueError(
            f"The image of {width} x {height} pixels would enter the network with a shorter side "
            f"of {shorter}, less than a patch of {patch_size}. Give a size, which is that side in "
            f"pixels, of at least {patch_size}."
        )
    scale = shorter / own
    rows, columns = (max(1, round(side * scale / patch_size)) for side in (height, width))
    if rows * columns > MAX_PATCHES:
        raise ValueError(
            f"The image of {width} x {height} pixels would enter the network as {columns} x {rows} "
            f"patches of {patch_size} pixels, more than {MAX_PATCHES}. Give a smaller size, which "
            "is the shorter side in pixels, or crop the image."
        )
    return rows * patch_size, columns * patch_size


def attention_maps(backbone: nn.Module, image: np.ndarray, size: int | None = None) -> Tensor:
    """Computes the attention of the class token in the last block.

    Args:
        backbone: ``mmdino.VisionTransformer`` in eval mode.
        image: (H, W, 3) uint8, RGB.
        size: Shorter side, in pixels, at which the image enters the network; None for its own.

    Returns:
        Attention (heads, h, w) to each patch, float32 on the CPU. A head sums to 1 minus the
        attention of the class token to itself.

    Raises:
        ValueError: If the network has no attention, the image is no colour image, smaller than a
            patch or has too many, or the attention is not finite.
    """
    require_attention(backbone)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            "Attention needs an image (H, W, 3) of uint8 in RGB, got "
            f"{image.dtype} of shape {image.shape}."
        )
    weight = backbone.patch_embed.projection.weight
    pixels = torch.tensor(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    pixels = pixels.to(weight.device, torch.float32)
    shape = input_shape(*image.shape[:2], weight.shape[-1], size)
    if pixels.shape[-2:] != shape:
        pixels = functional.interpolate(pixels, size=shape, mode="bicubic", antialias=True)
        pixels.clamp_(0, 255)
    mean, std = (
        pixels.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    with torch.no_grad():
        maps = backbone.class_token_attention(((pixels - mean) / std).to(weight.dtype))
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
