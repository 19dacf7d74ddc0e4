"""The bias of the keys, which DINOv3 leaves out."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

QKV_BIAS = re.compile(r"layers\.\d+\.attn\.qkv\.bias")


def has_key_bias(state_dict: Mapping[str, Tensor]) -> bool:
    """Returns whether a bias of queries, keys and values, (3D,) each, acts on the keys."""
    return any(bool(bias.chunk(3)[1].any()) for bias in _biases(state_dict).values())


def without_key_bias(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors with the biases of the keys set to 0."""
    masked = {}
    for name, bias in _biases(state_dict).items():
        query, key, value = bias.chunk(3)
        masked[name] = torch.cat([query, torch.zeros_like(key), value])
    return {**state_dict, **masked}


def _biases(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in state_dict.items()
        if QKV_BIAS.fullmatch(name) and tensor.dim() == 1 and len(tensor) % 3 == 0
    }
