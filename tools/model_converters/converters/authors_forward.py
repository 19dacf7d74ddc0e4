"""The authors' networks as plain functions of named tensors.

An independent implementation, which shares neither modules nor names with the trained one:
converted files are checked against it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.weights.specs import NORM_EPS

Activation = Callable[[Tensor], Tensor]
CHUNK = re.compile(r"^blocks\.\d+\.(?=\d)")


def vit_feature(
    tensors: Mapping[str, Tensor],
    images: Tensor,
    num_heads: int,
    source_grid: Sequence[int] | None = None,
    eps: float = NORM_EPS,
    activation: Activation = functional.gelu,
) -> Tensor:
    """Computes the class tokens after the final norm of a ViT of DINO, DINOv2 or DINOv3.

    Args:
        tensors: Tensors in the authors' names.
        images: Images (B, C, H, W).
        num_heads: Number of heads h, a divisor of the width D.
        source_grid: Rows and columns of the position embeddings; a square if not given.
        eps: Epsilon of the layer norms.
        activation: Activation of the feed-forward networks that have no gates.

    Returns:
        Features (B, D).
    """
    # Chunks of blocks, as in training files of DINOv2, are only names.
    tensors = {CHUNK.sub("blocks.", name): tensor for name, tensor in tensors.items()}
    patches = functional.conv2d(
        images,
        tensors["patch_embed.proj.weight"],
        tensors["patch_embed.proj.bias"],
        stride=tensors["patch_embed.proj.weight"].shape[-1],
    )
    grid = patches.shape[-2:]
    class_token = tensors["cls_token"].expand(len(images), -1, -1)
    tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
    registers = tensors.get("register_tokens", tensors.get("storage_tokens"))
    if "pos_embed" in tensors:
        tokens = tokens + _positions(
            tensors["pos_embed"], grid, source_grid, smooth=registers is not None
        )
    if registers is not None:
        registers = registers.expand(len(images), -1, -1)
        tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
    turns = None
    if "rope_embed.periods" in tensors:
        turns = _turns(tensors["rope_embed.periods"], grid)
    index = 0
    while f"blocks.{index}.norm1.weight" in tensors:
        tokens = _block(tensors, f"blocks.{index}.", tokens, num_heads, eps, turns, activation)
        index += 1
    return _layer_norm(tensors, "norm.", tokens[:, 0], eps)


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


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
    if "last_layer.weight" in tensors:
        return _linear(tensors, "last_layer.", x)
    directions = tensors["last_layer.weight_v"]
    rows = tensors["last_layer.weight_g"] * directions / directions.norm(dim=1, keepdim=True)
    return x @ rows.T


def _block(
    tensors: Mapping[str, Tensor],
    prefix: str,
    tokens: Tensor,
    num_heads: int,
    eps: float,
    turns: Tensor | None,
    activation: Activation,
) -> Tensor:
    normed = _layer_norm(tensors, f"{prefix}norm1.", tokens, eps)
    qkv = _linear(tensors, f"{prefix}attn.qkv.", normed)
    # (B, N, 3, h, D/h) -> three of (B, h, N, D/h)
    query, key, value = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    if turns is not None:
        query, key = _turned(query, turns), _turned(key, turns)
    weights = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(-1)
    mixed = (weights @ value).transpose(1, 2).flatten(2)
    attended = _linear(tensors, f"{prefix}attn.proj.", mixed)
    tokens = tokens + attended * tensors.get(f"{prefix}ls1.gamma", 1)
    normed = _layer_norm(tensors, f"{prefix}norm2.", tokens, eps)
    mapped = _mlp(tensors, f"{prefix}mlp.", normed, activation)
    return tokens + mapped * tensors.get(f"{prefix}ls2.gamma", 1)


def _mlp(tensors: Mapping[str, Tensor], prefix: str, x: Tensor, activation: Activation) -> Tensor:
    if f"{prefix}w3.weight" not in tensors:
        hidden = activation(_linear(tensors, f"{prefix}fc1.", x))
        return _linear(tensors, f"{prefix}fc2.", hidden)
    if f"{prefix}w12.weight" in tensors:
        gate, value = _linear(tensors, f"{prefix}w12.", x).chunk(2, dim=-1)
    else:
        gate, value = (_linear(tensors, f"{prefix}{name}.", x) for name in ("w1", "w2"))
    return _linear(tensors, f"{prefix}w3.", gate * gate.sigmoid() * value)


def _positions(
    pos_embed: Tensor, grid: Sequence[int], source_grid: Sequence[int] | None, smooth: bool
) -> Tensor:
    if source_grid is None:
        source_grid = [math.isqrt(pos_embed.shape[1] - 1)] * 2
    if tuple(grid) == tuple(source_grid):
        return pos_embed
    patches = pos_embed[:, 1:].unflatten(1, tuple(source_grid)).permute(0, 3, 1, 2)
    if smooth:
        target = {"size": tuple(grid), "antialias": True}
    else:
        # The authors add 0.1 to the target grid against rounding, which changes the scale.
        scale = [(new + 0.1) / old for new, old in zip(grid, source_grid, strict=True)]
        target = {"scale_factor": scale}
    patches = functional.interpolate(patches, mode="bicubic", **target)
    return torch.cat([pos_embed[:, :1], patches.flatten(2).transpose(1, 2)], dim=1)


def _turns(periods: Tensor, grid: Sequence[int]) -> Tensor:
    """Complex numbers of length 1, (P, width of a head / 2), by which DINOv3 rotates a patch."""
    rows, columns = grid
    down = [2 * (row + 0.5) / rows - 1 for row in range(rows) for _ in range(columns)]
    right = [2 * (column + 0.5) / columns - 1 for _ in range(rows) for column in range(columns)]
    angles = [2 * math.pi * periods.new_tensor(axis)[:, None] / periods for axis in (down, right)]
    angles = torch.cat(angles, dim=1)
    return torch.polar(torch.ones_like(angles), angles)


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """Rotates the patches, which come last, of queries or keys (B, h, N, D/h)."""
    others, patches = x[:, :, : -len(turns)], x[:, :, -len(turns) :]
    turned = torch.complex(*patches.chunk(2, dim=-1)) * turns
    return torch.cat([others, torch.cat([turned.real, turned.imag], dim=-1)], dim=2)


def _linear(tensors: Mapping[str, Tensor], prefix: str, x: Tensor) -> Tensor:
    bias = tensors.get(f"{prefix}bias")
    if f"{prefix}bias_mask" in tensors:
        bias = bias * tensors[f"{prefix}bias_mask"]
    return functional.linear(x, tensors[f"{prefix}weight"], bias)


def _layer_norm(tensors: Mapping[str, Tensor], prefix: str, x: Tensor, eps: float) -> Tensor:
    weight, bias = tensors[f"{prefix}weight"], tensors[f"{prefix}bias"]
    return functional.layer_norm(x, weight.shape, weight, bias, eps)
