"""The names of the image tower of OpenAI's CLIP, which are those of open_clip too.

The file has the text tower beside it. The features are those of ``ln_post``, before the projection
into the space that CLIP shares with texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts.renaming import rename, strip_prefix

TOWER = "visual."
MARKER = "class_embedding"
"""A tensor in every ViT of this layout."""
COUNTERS = ("input_resolution", "context_length", "vocab_size")
"""Numbers beside the tensors of OpenAI's archives; open_clip writes none."""
UNUSED = ("proj", *COUNTERS)
HEADS = {1280: 16, 1408: 16, 1664: 16}
"""Heads by width where a head is not 64 wide: ViT-H, ViT-g and ViT-bigG of open_clip."""
NORM_EPS = 1e-5
"""Layer-norm eps of OpenAI's, open_clip's and Hugging Face's networks."""
OPTIONS = {
    "pre_norm": True,
    "norm_cfg": {"type": "LN", "eps": NORM_EPS},
    "pos_embed_offset": 0.0,
}
"""What every image tower of CLIP has and no tensor but the first norm shows."""
MEAN = (0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255)
STD = (0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255)
"""Mean and deviation of each channel, 0 to 255, that OpenAI's and most of open_clip's networks were
trained with."""

EXACT, QUICK = "exact", "quick"
"""GELU itself, and OpenAI's approximation of it."""
ASSUMED = "assumed, since no tensor shows it: convert.py --to mmdino --gelu {} for the other"
"""How the GELU of a network is told that may be either."""
PROJECTION = 64
"""What divides the widths of the space that CLIP shares with texts, but not 1000, 11821 and 21841,
the classes of timm's fine-tuned networks."""

_BLOCK = r"transformer\.resblocks\.(\d+)\."
TO_MMDINO = (
    (r"class_embedding", "cls_token"),
    (r"positional_embedding", "pos_embed"),
    (r"conv1\.", "patch_embed.projection."),
    (r"ln_pre\.", "pre_norm."),
    (r"ln_post\.", "ln1."),
    (_BLOCK + r"attn\.in_proj_", r"layers.\1.attn.qkv."),
    (_BLOCK + r"attn\.out_proj\.", r"layers.\1.attn.proj."),
    (_BLOCK + r"ln_([12])\.", r"layers.\1.ln\2."),
    (_BLOCK + r"mlp\.c_fc\.", r"layers.\1.ffn.layers.0.0."),
    (_BLOCK + r"mlp\.c_proj\.", r"layers.\1.ffn.layers.1."),
)


def assumed_gelu(beside: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the GELU of a network whose file does not say it, and how that is known.

    OpenAI's networks have the approximation, and so have those of others in timm with
    ``quickgelu`` in their names. All that timm has fine-tuned are exact.

    Args:
        beside: Tensors in the file beside the tower, by name.
    """
    if any(name in beside for name in COUNTERS):
        return QUICK, "as in OpenAI's networks"
    head = beside.get("head.weight")
    if head is not None and head.dim() == 2 and len(head) % PROJECTION:
        return EXACT, ASSUMED.format(QUICK)
    return QUICK, ASSUMED.format(EXACT)


def has_tower(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether tensors are those of a CLIP whose image tower is a ViT."""
    return TOWER + MARKER in state_dict


def tower(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of the image tower without their prefix, and OpenAI's numbers."""
    counters = {name: state_dict[name] for name in COUNTERS if name in state_dict}
    return strip_prefix(state_dict, TOWER) | counters


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors of the tower; class token and positions get an axis for the batch."""
    return with_batch_axes(rename(state_dict, TO_MMDINO))


def with_batch_axes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns tensors with the class token (D,) as (1, 1, D) and positions (N, D) as (1, N, D)."""
    axes = {"cls_token": 1, "pos_embed": 2}
    batched = {
        name: tensors[name][(None,) * (3 - number)]
        for name, number in axes.items()
        if name in tensors and tensors[name].dim() == number
    }
    return {**tensors, **batched}


def released_options(width: int) -> dict[str, Any]:
    """Returns the config of the networks of OpenAI, but for what tensors show.

    Args:
        width: Width of a token, which the number of heads follows from.
    """
    options = {**OPTIONS, "ffn": "mlp_quick_gelu"}
    return {**options, "arch": {"num_heads": HEADS[width]}} if width in HEADS else options
