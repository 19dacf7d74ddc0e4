"""timm's names of a ViT's tensors where they are not the authors'.

They differ in networks with registers, a gated feed-forward network or rotary positions, and in
those of CLIP, which have a norm before the first block. timm has no mask token, adds the position
of the class token to that token in a network with registers and in DeiT III, and computes the
periods of rotary positions itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.key_bias import has_key_bias
from mmdino.weights.layouts.renaming import join_rows, rename
from mmdino.weights.layouts.shared_periods import PERIODS, with_shared_periods

SIGNS = re.compile(
    r"reg_token|norm_pre\.weight|blocks\.0\.(?:gamma_1|mlp\.fc1_g\.weight|attn\.q_bias)"
)
"""Tensors whose names the authors do not have."""
GATES = ("fc1_g", "fc1_x")
OWN_BIASES = {"blocks.0.attn.q_bias", "blocks.0.attn.q_proj.bias"}
"""Biases of queries, which keys do not have, in BEiT, EVA and DINOv3."""
OF_DINOV2 = {"mask_token", "register_tokens", "storage_tokens"}
"""Tokens that DeiT III does not have."""
DROPPED = re.compile(r"mask_token|local_cls_norm\..*|rope_embed\.periods|.*\.bias_mask")
"""What timm's networks do not have."""

TO_AUTHORS = (
    (r"reg_token", "register_tokens"),
    (r"norm_pre\.", "pre_norm."),
    (r"(blocks\.\d+\.)gamma_([12])", r"\1ls\2.gamma"),
)
GATED_TO_AUTHORS = (
    (r"(blocks\.\d+\.mlp\.)fc1\.", r"\1w12."),
    (r"(blocks\.\d+\.mlp\.)fc2\.", r"\1w3."),
)
FROM_AUTHORS = (
    (r"(register|storage)_tokens", "reg_token"),
    (r"pre_norm\.", "norm_pre."),
    (r"(blocks\.\d+\.mlp\.)w12\.", r"\1fc1."),
    (r"(blocks\.\d+\.mlp\.)w1\.", r"\1fc1_g."),
    (r"(blocks\.\d+\.mlp\.)w2\.", r"\1fc1_x."),
    (r"(blocks\.\d+\.mlp\.)w3\.", r"\1fc2."),
)
ROTARY_FROM_AUTHORS = ((r"(blocks\.\d+\.)ls([12])\.gamma", r"\1gamma_\2"),)
"""The other names in timm's ``Eva``, which is its network with rotary positions."""


def is_timm(state_dict: Mapping[str, Tensor]) -> bool:
    """Returns whether tensors have names of timm that the authors do not have, or are DeiT III."""
    signs = any(SIGNS.fullmatch(name) for name in state_dict)
    return signs or _is_packed(state_dict) or _is_deit3(state_dict)


def is_rotary(state_dict: Mapping[str, Tensor]) -> bool:
    """Returns whether tensors with timm's names are those of a network with rotary positions."""
    return is_timm(state_dict) and "pos_embed" not in state_dict


def require_known_positions(state_dict: Mapping[str, Tensor]) -> None:
    """Checks that tensors with timm's names are of no network with other rotary positions.

    timm computes those without tensors, so that the network would load and compute other features.
    DINOv3 has registers and no learned positions.

    Raises:
        ValueError: If they are.
    """
    positions = state_dict.get("pos_embed")
    if positions is None:
        known, name = "reg_token" in state_dict, "ViT with rope in its name"
    elif OWN_BIASES & state_dict.keys():
        known, name = not _is_gated(state_dict), "EVA-02"
    else:
        # With rope_ape in its name; the class token has no position.
        without_class = positions.dim() == 3 and is_square(positions.shape[1])
        known = "blocks.0.gamma_1" not in state_dict or not without_class
        name = "ViT with rope in its name"
    if not known:
        raise ValueError(
            f"The tensors are those of timm's {name}, whose rotary positions mmdino does not have. "
            "Of timm's networks with rotary positions it reads DINOv3. Use another network."
        )


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors, and joins gates and biases; periods of rotary positions are missing."""
    tensors = rename(_with_qkv_bias(state_dict), TO_AUTHORS)
    if _is_gated(tensors):
        tensors = rename(join_rows(tensors, GATES, "fc1"), GATED_TO_AUTHORS)
    positions = tensors.get("pos_embed")
    without_class = "register_tokens" in tensors or _is_deit3(tensors)
    if without_class and positions is not None and positions.dim() == 3:
        tensors["pos_embed"] = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
    return authors_vit.to_mmdino(tensors)


def from_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors, and leaves out what timm does not have.

    Raises:
        ValueError: If rotary positions meet a bias of the keys, which timm's network lacks, or
            blocks have different periods of them.
    """
    state_dict = with_shared_periods(state_dict)
    rotary = PERIODS in state_dict
    if rotary and has_key_bias(state_dict):
        raise ValueError(
            "The keys of the backbone have a bias, but timm's ViT with rotary positions has none. "
            "Train it with key_bias=False, or convert it to huggingface."
        )
    tensors = {
        name: tensor
        for name, tensor in authors_vit.from_mmdino(state_dict).items()
        if not DROPPED.fullmatch(name)
    }
    if "register_tokens" in tensors and "pos_embed" in tensors:
        positions = tensors["pos_embed"]
        tensors["cls_token"] = tensors["cls_token"] + positions[:, :1]
        tensors["pos_embed"] = positions[:, 1:].clone()
    if rotary:
        tensors = rename(_with_own_biases(tensors), ROTARY_FROM_AUTHORS)
    return rename(tensors, FROM_AUTHORS)


def is_square(number: int) -> bool:
    """Whether a number of patches may be that of a square."""
    return math.isqrt(number) ** 2 == number


def _is_deit3(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether tensors are those of DeiT III, whose class token has no position.

    Of other networks with LayerScale, DINOv2's have a mask token or registers.
    """
    positions = state_dict.get("pos_embed")
    if positions is None or positions.dim() != 3 or OF_DINOV2 & state_dict.keys():
        return False
    number = positions.shape[1]
    return "blocks.0.ls1.gamma" in state_dict and is_square(number) and not is_square(number - 1)


def _is_gated(state_dict: Mapping[str, Tensor]) -> bool:
    return _is_packed(state_dict) or any(f".{GATES[0]}." in name for name in state_dict)


def _is_packed(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether the first layer has both gates, twice the width of the second layer's input."""
    first, second = (state_dict.get(f"blocks.0.mlp.fc{i}.weight") for i in (1, 2))
    if first is None or second is None or second.dim() != 2:
        return False
    return len(first) == 2 * second.shape[1]


def _with_qkv_bias(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = dict(state_dict)
    for name in state_dict:
        prefix = name.removesuffix("q_bias")
        if name.endswith(".attn.q_bias") and f"{prefix}v_bias" in tensors:
            query, value = tensors.pop(name), tensors.pop(f"{prefix}v_bias")
            bias = torch.cat([query, torch.zeros_like(query), value])
            tensors[f"{prefix}qkv.bias"] = bias
    return tensors


def _with_own_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = {}
    for name, tensor in tensors.items():
        if name.endswith(".attn.qkv.bias"):
            query, _, value = tensor.chunk(3)
            prefix = name.removesuffix("qkv.bias")
            own |= {f"{prefix}q_bias": query.clone(), f"{prefix}v_bias": value.clone()}
        else:
            own[name] = tensor
    return own
