"""The names of Hugging Face's ``ViTModel`` and ``ViTMAEModel``, and their config.

Two schemes are read: that of transformers 4 and of published files
(``encoder.layer.0.attention.attention.query``), and that of a ``ViTModel`` of transformers 5 in
memory (``layers.0.attention.q_proj``). The first is written, since both versions load it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts.renaming import join_rows, rename, split_rows
from mmdino.weights.specs import ACTIVATIONS, hidden_act, norm_eps

MARKER = "embeddings.cls_token"
"""A tensor in every file of this layout."""
TYPES = ("vit", "vit_mae")

BLOCK = r"(?:encoder\.layer|layers)\.(\d+)\."
PARTS = ("query", "key", "value")
TO_MMDINO = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.projection."),
    (BLOCK + r"layernorm_before\.", r"layers.\1.ln1."),
    (BLOCK + r"layernorm_after\.", r"layers.\1.ln2."),
    (BLOCK + r"attention\.attention\.(query|key|value)\.", r"layers.\1.attn.\2."),
    (BLOCK + r"attention\.q_proj\.", r"layers.\1.attn.query."),
    (BLOCK + r"attention\.k_proj\.", r"layers.\1.attn.key."),
    (BLOCK + r"attention\.v_proj\.", r"layers.\1.attn.value."),
    (BLOCK + r"attention\.(?:output\.dense|o_proj)\.", r"layers.\1.attn.proj."),
    (BLOCK + r"(?:intermediate\.dense|mlp\.fc1)\.", r"layers.\1.ffn.layers.0.0."),
    (BLOCK + r"(?:output\.dense|mlp\.fc2)\.", r"layers.\1.ffn.layers.1."),
    (r"layernorm\.", "ln1."),
)
FROM_MMDINO = (
    (r"cls_token", "embeddings.cls_token"),
    (r"pos_embed", "embeddings.position_embeddings"),
    (r"patch_embed\.projection\.", "embeddings.patch_embeddings.projection."),
    (r"layers\.(\d+)\.ln1\.", r"encoder.layer.\1.layernorm_before."),
    (r"layers\.(\d+)\.ln2\.", r"encoder.layer.\1.layernorm_after."),
    (r"layers\.(\d+)\.attn\.(query|key|value)\.", r"encoder.layer.\1.attention.attention.\2."),
    (r"layers\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"encoder.layer.\1.intermediate.dense."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"encoder.layer.\1.output.dense."),
    (r"ln1\.", "layernorm."),
)
DROPPED = re.compile(r"mask_token|local_ln1\..*")
"""What the model of Hugging Face does not have."""


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors and concatenates query, key and value, (D, D) each, to (3D, D)."""
    return join_rows(rename(state_dict, TO_MMDINO), PARTS, "qkv")


def from_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Splits queries, keys and values and renames the tensors that ``ViTModel`` has."""
    tensors = {name: tensor for name, tensor in state_dict.items() if not DROPPED.fullmatch(name)}
    return rename(split_rows(tensors, PARTS, "qkv"), FROM_MMDINO)


def backbone_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``mmdino.VisionTransformer`` config of a ``config.json``.

    Raises:
        ValueError: If it is not the config of one of the two models with GELU or its approximation.
    """
    activation = config.get("hidden_act", "gelu")
    if config.get("model_type") not in TYPES or activation not in ACTIVATIONS:
        raise ValueError(
            f"The config.json has model_type={config.get('model_type')!r} and "
            f"hidden_act={activation!r}: expected a ViTModel, with model_type "
            f"{' or '.join(map(repr, TYPES))} and hidden_act {' or '.join(map(repr, ACTIVATIONS))}."
        )
    return {
        "type": "mmdino.VisionTransformer",
        "arch": {
            "embed_dims": config.get("hidden_size", 768),
            "num_layers": config.get("num_hidden_layers", 12),
            "num_heads": config.get("num_attention_heads", 12),
            "feedforward_channels": config.get("intermediate_size", 3072),
        },
        "img_size": config.get("image_size", 224),
        "patch_size": config.get("patch_size", 16),
        "in_channels": config.get("num_channels", 3),
        "qkv_bias": config.get("qkv_bias", True),
        "norm_cfg": {"type": "LN", "eps": config.get("layer_norm_eps", 1e-12)},
        "ffn": ACTIVATIONS[activation],
    }


def huggingface_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``config.json`` of a ``VisionTransformer`` config with an ``arch`` dict."""
    arch, size = config["arch"], config["img_size"]
    return {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        "hidden_size": arch["embed_dims"],
        "num_hidden_layers": arch["num_layers"],
        "num_attention_heads": arch["num_heads"],
        "intermediate_size": arch["feedforward_channels"],
        "hidden_act": hidden_act(config),
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "image_size": size if isinstance(size, int) else list(size),
        "patch_size": config["patch_size"],
        "num_channels": config["in_channels"],
        "qkv_bias": config.get("qkv_bias", True),
        # ViTModel's own default is 1e-12; the authors' networks have 1e-6.
        "layer_norm_eps": norm_eps(config),
    }
