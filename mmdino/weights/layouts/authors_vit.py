"""The authors' names of a ViT's tensors, which are also timm's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmdino.weights.layouts.renaming import rename

MARKER = "blocks.0.norm1.weight"
"""A tensor in every file of this layout."""

TO_MMDINO = (
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (r"blocks\.(\d+)\.norm([12])\.", r"layers.\1.ln\2."),
    (r"blocks\.(\d+)\.attn\.", r"layers.\1.attn."),
    (r"blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (r"blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (r"norm\.", "ln1."),
)
FROM_MMDINO = (
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"layers\.(\d+)\.ln([12])\.", r"blocks.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.", r"blocks.\1.attn."),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"blocks.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"blocks.\1.mlp.fc2."),
    (r"ln1\.", "norm."),
)


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames ``blocks.0.attn.qkv.weight`` to ``layers.0.attn.qkv.weight``, and so on."""
    return rename(state_dict, TO_MMDINO)


def from_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames ``layers.0.attn.qkv.weight`` to ``blocks.0.attn.qkv.weight``, and so on."""
    return rename(state_dict, FROM_MMDINO)
