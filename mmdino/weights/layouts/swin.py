"""The names of Swin's authors, EsViT's and timm's, for mmpretrain's Swin of version 1 and 2.

mmpretrain merges four patches by ``unfold``, in which the four values of a channel are neighbours
and the upper right patch comes second; elsewhere the four patches follow each other, the lower left
one second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts.renaming import rename

MARKER = re.compile(r"layers\.0\.blocks\.0\.attn\.(?:qkv\.weight|relative_position_bias_table)")
OWN_MARKER = "stages.0.blocks.0.attn.w_msa.qkv.weight"
"""A tensor of mmpretrain's network."""
VERSION_2 = "stages.0.blocks.0.attn.w_msa.logit_scale"
COMPUTED = ("relative_position_index", "relative_coords_table", "attn_mask")
"""The ends of the names of what follows from the sizes of windows and maps."""
TABLE = r"stages\.\d+\.blocks\.0\.attn\.w_msa\.relative_coords_table"
"""The distances within a window, in the first block of each stage of version 2."""
UNUSED = ("head.", "head_dense.")
CORNERS = (0, 2, 1, 3)
"""Where mmpretrain's order of four patches finds each in the others'."""

_BLOCK = r"layers\.(\d+)\.blocks\.(\d+)\."
_STAGE = r"stages.\1.blocks.\2."
TO_MMPRETRAIN = (
    (r"patch_embed\.proj\.", "patch_embed.projection."),
    (_BLOCK + r"attn\.rpe_mlp\.", _STAGE + "attn.w_msa.cpb_mlp."),
    (_BLOCK + r"attn\.", _STAGE + "attn.w_msa."),
    (_BLOCK + r"mlp\.fc1\.", _STAGE + "ffn.layers.0.0."),
    (_BLOCK + r"mlp\.fc2\.", _STAGE + "ffn.layers.1."),
    (r"layers\.", "stages."),
)


def has_names(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether tensors have these names."""
    return any(MARKER.fullmatch(name) for name in state_dict)


def is_swin(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether tensors are those of mmpretrain's network."""
    return OWN_MARKER in state_dict


def to_mmpretrain(
    state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Renames the tensors, and reorders those that act on merged patches.

    Args:
        state_dict: Tensors in the other names.
        expected: State dict of mmpretrain's network.
    """
    found = {
        name: tensor
        for name, tensor in state_dict.items()
        if not name.endswith(COMPUTED) and not name.startswith(UNUSED)
    }
    # Patches are merged at the end of a stage, or at the start of the next: timm, and version 2.
    shift = int(VERSION_2 in expected) - int("layers.0.downsample.reduction.weight" not in found)
    last = max(int(name.split(".")[1]) for name in found if name.startswith("layers."))
    renamed = {}
    for name, tensor in rename(found, (*TO_MMPRETRAIN, (r"norm\.", f"norm{last}."))).items():
        merging = re.fullmatch(r"stages\.(\d+)\.(downsample\..+)", name)
        if merging:
            name = f"stages.{int(merging[1]) + shift}.{merging[2]}"
            # The norm of version 2 acts after the merging.
            if merging[2].startswith("downsample.reduction") or VERSION_2 not in expected:
                tensor = _in_order(tensor)
        renamed[name] = tensor
    return renamed


def with_own_windows(
    state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the tensors of a file with what follows from windows and maps of the network.

    Args:
        state_dict: Tensors in mmpretrain's names.
        expected: State dict of mmpretrain's network.
    """
    weights = {name: t for name, t in state_dict.items() if not name.endswith(COMPUTED)}
    return weights | {name: t for name, t in expected.items() if name.endswith(COMPUTED)}


def windows_trained_for(
    state_dict: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> list[int]:
    """Returns the windows of a file of version 2, a stage each, if distances mean other things.

    Version 2 scales the distance of two places by the size of the window that it was trained with,
    which a network with other windows has to be told.

    Args:
        state_dict: Tensors in mmpretrain's names.
        expected: State dict of mmpretrain's network.

    Returns:
        Sides of the windows; empty if the network scales distances as that of the file.
    """
    windows, equal = [], True
    for name in (name for name in expected if re.fullmatch(TABLE, name)):
        if name not in state_dict:
            return []
        file, own = state_dict[name], expected[name]
        windows.append((file.shape[1] + 1) // 2)
        side = min(file.shape[1], own.shape[1])
        equal &= bool(_centre(file, side).allclose(_centre(own, side)))
    return [] if equal else windows


def _centre(table: Tensor, side: int) -> Tensor:
    """Returns the middle (1, side, side, 2) of a table (1, 2W - 1, 2W - 1, 2)."""
    start = (table.shape[1] - side) // 2
    return table[:, start : start + side, start : start + side].float()


def _in_order(tensor: Tensor) -> Tensor:
    """Reorders the last axis, four patches of C channels, to C channels of four patches."""
    corners = tensor.unflatten(-1, (4, -1))[..., CORNERS, :]
    return corners.transpose(-2, -1).flatten(-2)
