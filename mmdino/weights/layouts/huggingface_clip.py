"""The names of Hugging Face's ``CLIPVisionModel``, and its config.

The file may be that of a whole ``CLIPModel``. Its ``last_hidden_state`` lacks the norm at the end,
which the features here have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts import clip
from mmdino.weights.layouts.renaming import join_rows, rename
from mmdino.weights.specs import ACTIVATIONS

TOWER = "vision_model."
MARKER = "embeddings.class_embedding"
"""A tensor in every file of this layout."""
UNUSED = ("embeddings.position_ids",)
TYPES = ("clip", "clip_vision_model")
PARTS = ("query", "key", "value")

_BLOCK = r"encoder\.layers\.(\d+)\."
TO_MMDINO = (
    (r"embeddings\.class_embedding", "cls_token"),
    (r"embeddings\.position_embedding\.weight", "pos_embed"),
    (r"embeddings\.patch_embedding\.", "patch_embed.projection."),
    (r"pre_layrnorm\.", "pre_norm."),
    (r"post_layernorm\.", "ln1."),
    (_BLOCK + r"layer_norm([12])\.", r"layers.\1.ln\2."),
    (_BLOCK + r"self_attn\.q_proj\.", r"layers.\1.attn.query."),
    (_BLOCK + r"self_attn\.k_proj\.", r"layers.\1.attn.key."),
    (_BLOCK + r"self_attn\.v_proj\.", r"layers.\1.attn.value."),
    (_BLOCK + r"self_attn\.out_proj\.", r"layers.\1.attn.proj."),
    (_BLOCK + r"mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (_BLOCK + r"mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
)


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors and concatenates query, key and value, (D, D) each, to (3D, D)."""
    return clip.with_batch_axes(join_rows(rename(state_dict, TO_MMDINO), PARTS, "qkv"))


def backbone_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``mmdino.VisionTransformer`` config of a ``config.json``.

    Raises:
        ValueError: If it is not the config of a CLIP with GELU or its approximation.
    """
    vision = config.get("vision_config") if config.get("model_type") == "clip" else config
    vision = vision if isinstance(vision, Mapping) else {}
    # Defaults of CLIPVisionConfig.
    kind, activation = config.get("model_type"), vision.get("hidden_act", "quick_gelu")
    if kind not in TYPES or activation not in ACTIVATIONS:
        raise ValueError(
            f"The config.json has model_type={kind!r} and hidden_act={activation!r}: expected "
            f"model_type {' or '.join(map(repr, TYPES))} and hidden_act "
            f"{' or '.join(map(repr, ACTIVATIONS))} for tensors with these names."
        )
    return {
        "type": "mmdino.VisionTransformer",
        "arch": {
            "embed_dims": vision.get("hidden_size", 768),
            "num_layers": vision.get("num_hidden_layers", 12),
            "num_heads": vision.get("num_attention_heads", 12),
            "feedforward_channels": vision.get("intermediate_size", 3072),
        },
        "img_size": vision.get("image_size", 224),
        **clip.OPTIONS,
        "norm_cfg": {"type": "LN", "eps": vision.get("layer_norm_eps", clip.NORM_EPS)},
        "ffn": ACTIVATIONS[activation],
    }
