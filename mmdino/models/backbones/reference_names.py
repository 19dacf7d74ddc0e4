"""Names of the authors' ViT in mmpretrain's terms."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

RENAMED = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.(\d+)\.norm([12])\.", r"layers.\1.ln\2."),
    (r"^blocks\.(\d+)\.attn\.", r"layers.\1.attn."),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (r"^norm\.", "ln1."),
)


def from_reference_vit(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames a state dict of the authors' ViT so that ``DINOVisionTransformer`` loads it.

    Args:
        state_dict: Tensors under the authors' names (``blocks.0.attn.qkv.weight``).

    Returns:
        The same tensors under mmpretrain's names (``layers.0.attn.qkv.weight``).
    """
    renamed = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
