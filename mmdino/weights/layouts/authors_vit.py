"""The authors' names of a ViT's tensors, for DINO, DINOv2 and DINOv3."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmdino.weights.layouts.key_bias import has_key_bias, without_key_bias
from mmdino.weights.layouts.renaming import join_rows, rename, split_rows
from mmdino.weights.layouts.shared_periods import PERIODS, with_shared_periods

MARKER = re.compile(r"blocks\.(?:0\.)?0\.norm1\.weight")
"""A tensor in every file of this layout."""
BIAS_MASK = re.compile(r"blocks\.(?:\d+\.)?\d+\.attn\.qkv\.bias_mask")
GATES = ("w1", "w2")

# Training files of DINOv2 have blocks.CHUNK.N, where N counts all blocks.
_BLOCK = r"blocks\.(?:\d+\.)?(\d+)\."
TO_MMDINO = (
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (_BLOCK + r"norm([12])\.", r"layers.\1.ln\2."),
    (_BLOCK + r"attn\.", r"layers.\1.attn."),
    (_BLOCK + r"ls1\.gamma", r"layers.\1.attn.gamma1.weight"),
    (_BLOCK + r"ls2\.gamma", r"layers.\1.ffn.gamma2.weight"),
    (_BLOCK + r"mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (_BLOCK + r"mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (_BLOCK + r"mlp\.(w12|w[123])\.", r"layers.\1.ffn.\2."),
    (r"norm\.", "ln1."),
    (r"storage_tokens", "register_tokens"),
    (r"local_cls_norm\.", "local_ln1."),
    (r"rope_embed\.periods", PERIODS),
)
FROM_MMDINO = (
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.gamma1\.weight", r"blocks.\1.ls1.gamma"),
    (r"layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
    (r"layers\.(\d+)\.ffn\.gamma2\.weight", r"blocks.\1.ls2.gamma"),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"layers\.(\d+)\.ffn\.(w12|w[123])\.", r"blocks.\1.mlp.\2."),
    (r"ln1\.", "norm."),
    (r"local_ln1\.", "local_cls_norm."),
    (r"position_encoding\.periods", "rope_embed.periods"),
)
DINOV3 = ((r"register_tokens", "storage_tokens"),)
"""What else DINOv3 has other names for than DINOv2."""


def has_names(state_dict: Mapping[str, Tensor]) -> bool:
    """Returns whether tensors have these names, or timm's."""
    return any(MARKER.fullmatch(name) for name in state_dict)


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames ``blocks.0.attn.qkv.weight`` to ``layers.0.attn.qkv.weight``, and so on.

    The gates ``w1`` and ``w2`` of DINOv3 become one tensor, and the keys' bias that its
    ``bias_mask`` masks becomes 0.

    Raises:
        ValueError: If two tensors would have the same name, or a mask masks something else.
    """
    masks = {name: tensor for name, tensor in state_dict.items() if BIAS_MASK.fullmatch(name)}
    for name, mask in masks.items():
        _require_key_mask(name, mask)
    rest = {name: tensor for name, tensor in state_dict.items() if name not in masks}
    renamed = join_rows(rename(rest, TO_MMDINO), GATES, "w12")
    return without_key_bias(renamed) if masks else renamed


def from_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames ``layers.0.attn.qkv.weight`` to ``blocks.0.attn.qkv.weight``, and so on.

    A network with rotary positions gets the names of DINOv3.

    Raises:
        ValueError: If blocks have different periods of rotary positions.
    """
    state_dict = with_shared_periods(state_dict)
    if PERIODS not in state_dict:
        return rename(state_dict, FROM_MMDINO)
    masked = not has_key_bias(state_dict)
    tensors = rename(split_rows(rename(state_dict, FROM_MMDINO), GATES, "w12"), DINOV3)
    for name, bias in list(tensors.items()):
        if masked and name.endswith(".attn.qkv.bias"):
            mask = torch.ones_like(bias)
            mask.chunk(3)[1].zero_()
            tensors[f"{name}_mask"] = mask
    return tensors


def _require_key_mask(name: str, mask: Tensor) -> None:
    parts = mask.chunk(3) if mask.dim() == 1 and len(mask) % 3 == 0 else ()
    wanted = (1, 0, 1)
    if not parts or not all(bool((p == w).all()) for p, w in zip(parts, wanted, strict=True)):
        raise ValueError(
            f"{name} masks something else than the bias of the keys: expected 1 for queries and "
            "values, 0 for keys. The file is damaged."
        )
