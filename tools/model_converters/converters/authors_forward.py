"""The authors' networks as plain functions of named tensors.

An independent implementation, which shares neither modules nor names with the trained one:
converted files are checked against it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.weights.specs import NORM_EPS


def vit_feature(
    tensors: Mapping[str, Tensor],
    images: Tensor,
    num_heads: int,
    source_grid: Sequence[int] | None = None,
    eps: float = NORM_EPS,
) -> Tensor:
    """Computes the class tokens after the final norm.

    Args:
        tensors: Tensors in the authors' names.
        images: Images (B, C, H, W).
        num_heads: Number of heads h, a divisor of the width D.
        source_grid: Rows and columns of the position embeddings; a square if not given.
        eps: Epsilon of the layer norms.

    Returns:
        Features (B, D).
    """
    patches = functional.conv2d(
        images,
        tensors["patch_embed.proj.weight"],
        tensors["patch_embed.proj.bias"],
        stride=tensors["patch_embed.proj.weight"].shape[-1],
    )
    class_token = tensors["cls_token"].expand(len(images), -1, -1)
    tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
    tokens = tokens + _positions(tensors["pos_embed"], patches.shape[-2:], source_grid)
    index = 0
    while f"blocks.{index}.norm1.weight" in tensors:
        tokens = _block(tensors, f"blocks.{index}.", tokens, num_heads, eps)
        index += 1
    return _layer_norm(tensors, "norm.", tokens[:, 0], eps)


def head_logits(tensors: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Computes the logits of the prototypes, batch norms in eval mode.

    Args:
        tensors: Tensors in the authors' names (``mlp.0.weight``, ``last_layer.weight_v``).
        features: Features (B, D).

    Returns:
        Logits (B, K).
    """
    x = features
    if "mlp.weight" in tensors:
        x = functional.linear(x, tensors["mlp.weight"], tensors["mlp.bias"])
    else:
        indices = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("mlp.")})
        for index in indices:
            prefix = f"mlp.{index}."
            if f"{prefix}running_mean" in tensors:
                statistics = tensors[f"{prefix}running_mean"], tensors[f"{prefix}running_var"]
                x = functional.batch_norm(
                    x, *statistics, tensors[f"{prefix}weight"], tensors[f"{prefix}bias"]
                )
            else:
                x = _linear(tensors, prefix, x)
            # An activation precedes each linear layer except the first, and follows the batch norm.
            if index != indices[-1] and f"mlp.{index + 1}.running_mean" not in tensors:
                x = functional.gelu(x)
    x = x / x.norm(dim=1, keepdim=True)
    directions = tensors["last_layer.weight_v"]
    rows = tensors["last_layer.weight_g"] * directions / directions.norm(dim=1, keepdim=True)
    return x @ rows.T


def _block(
    tensors: Mapping[str, Tensor], prefix: str, tokens: Tensor, num_heads: int, eps: float
) -> Tensor:
    normed = _layer_norm(tensors, f"{prefix}norm1.", tokens, eps)
    qkv = _linear(tensors, f"{prefix}attn.qkv.", normed)
    # (B, N, 3, h, D/h) -> three of (B, h, N, D/h)
    query, key, value = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    weights = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(-1)
    mixed = (weights @ value).transpose(1, 2).flatten(2)
    tokens = tokens + _linear(tensors, f"{prefix}attn.proj.", mixed)
    normed = _layer_norm(tensors, f"{prefix}norm2.", tokens, eps)
    hidden = functional.gelu(_linear(tensors, f"{prefix}mlp.fc1.", normed))
    return tokens + _linear(tensors, f"{prefix}mlp.fc2.", hidden)


def _positions(pos_embed: Tensor, grid: Sequence[int], source_grid: Sequence[int] | None) -> Tensor:
    if source_grid is None:
        source_grid = [math.isqrt(pos_embed.shape[1] - 1)] * 2
    if tuple(grid) == tuple(source_grid):
        return pos_embed
    patches = pos_embed[:, 1:].unflatten(1, tuple(source_grid)).permute(0, 3, 1, 2)
    # The authors add 0.1 to the target grid against rounding, which changes the scale.
    scale = [(new + 0.1) / old for new, old in zip(grid, source_grid, strict=True)]
    patches = functional.interpolate(patches, scale_factor=scale, mode="bicubic")
    return torch.cat([pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


def _linear(tensors: Mapping[str, Tensor], prefix: str, x: Tensor) -> Tensor:
    return functional.linear(x, tensors[f"{prefix}weight"], tensors.get(f"{prefix}bias"))


def _layer_norm(tensors: Mapping[str, Tensor], prefix: str, x: Tensor, eps: float) -> Tensor:
    weight, bias = tensors[f"{prefix}weight"], tensors[f"{prefix}bias"]
    return functional.layer_norm(x, weight.shape, weight, bias, eps)
