"""The names of Hugging Face's ``Dinov2Model`` and ``Dinov2WithRegistersModel``, and their configs.

Two schemes are read: that of published files (``attention.attention.query``,
``mlp.weights_in``), which is written, and that of a model of transformers 5 in memory
(``attention.q_proj``, ``mlp.gate_proj``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmdino.utils.swiglu import swiglu_width
from mmdino.weights.layouts.renaming import join_rows, rename, split_rows
from mmdino.weights.specs import ACTIVATIONS, hidden_act, is_gated, norm_eps

MARKER = "encoder.layer.0.norm1.weight"
"""A tensor in every file of this layout."""
TYPES = ("dinov2", "dinov2_with_registers")

_BLOCK = r"encoder\.layer\.(\d+)\."
PARTS = ("query", "key", "value")
GATES = ("w1", "w2")
TO_MMDINO = (
    (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.projection."),
    (_BLOCK + r"norm([12])\.", r"layers.\1.ln\2."),
    (_BLOCK + r"attention\.attention\.(query|key|value)\.", r"layers.\1.attn.\2."),
    (_BLOCK + r"attention\.q_proj\.", r"layers.\1.attn.query."),
    (_BLOCK + r"attention\.k_proj\.", r"layers.\1.attn.key."),
    (_BLOCK + r"attention\.v_proj\.", r"layers.\1.attn.value."),
    (_BLOCK + r"attention\.(?:output\.dense|o_proj)\.", r"layers.\1.attn.proj."),
    (_BLOCK + r"layer_scale1\.lambda1", r"layers.\1.attn.gamma1.weight"),
    (_BLOCK + r"layer_scale2\.lambda1", r"layers.\1.ffn.gamma2.weight"),
    (_BLOCK + r"mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (_BLOCK + r"mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (_BLOCK + r"mlp\.weights_in\.", r"layers.\1.ffn.w12."),
    (_BLOCK + r"mlp\.gate_proj\.", r"layers.\1.ffn.w1."),
    (_BLOCK + r"mlp\.up_proj\.", r"layers.\1.ffn.w2."),
    (_BLOCK + r"mlp\.(?:weights_out|down_proj)\.", r"layers.\1.ffn.w3."),
    (r"layernorm\.", "ln1."),
)
FROM_MMDINO = (
    (r"(cls_token|mask_token|register_tokens)", r"embeddings.\1"),
    (r"pos_embed", "embeddings.position_embeddings"),
    (r"patch_embed\.projection\.", "embeddings.patch_embeddings.projection."),
    (r"layers\.(\d+)\.ln([12])\.", r"encoder.layer.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.(query|key|value)\.", r"encoder.layer.\1.attention.attention.\2."),
    (r"layers\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
    (r"layers\.(\d+)\.attn\.gamma1\.weight", r"encoder.layer.\1.layer_scale1.lambda1"),
    (r"layers\.(\d+)\.ffn\.gamma2\.weight", r"encoder.layer.\1.layer_scale2.lambda1"),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"encoder.layer.\1.mlp.fc1."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"encoder.layer.\1.mlp.fc2."),
    (r"layers\.(\d+)\.ffn\.w12\.", r"encoder.layer.\1.mlp.weights_in."),
    (r"layers\.(\d+)\.ffn\.w3\.", r"encoder.layer.\1.mlp.weights_out."),
    (r"ln1\.", "layernorm."),
)
LOCAL_NORM = "local_ln1."
"""The start of what the models of Hugging Face do not have."""


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors and concatenates query, key and value, and the gates."""
    return join_rows(join_rows(rename(state_dict, TO_MMDINO), PARTS, "qkv"), GATES, "w12")


def from_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Splits queries, keys and values and renames the tensors, without the norm of local views.

    A network without mask token gets one of 0, which the features do not depend on.
    """
    width = state_dict["cls_token"].shape[-1]
    tensors = {
        "mask_token": torch.zeros(1, width),
        **{name: tensor for name, tensor in state_dict.items() if not name.startswith(LOCAL_NORM)},
    }
    return rename(split_rows(tensors, PARTS, "qkv"), FROM_MMDINO)


def backbone_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``mmdino.VisionTransformer`` config of a ``config.json``.

    Raises:
        ValueError: If it is not the config of one of the two models with GELU or its approximation.
    """
    kind, activation = config.get("model_type"), config.get("hidden_act", "gelu")
    if kind not in TYPES or activation not in ACTIVATIONS:
        raise ValueError(
            f"The config.json has model_type={kind!r} and hidden_act={activation!r}: expected "
            f"model_type {' or '.join(map(repr, TYPES))} and hidden_act "
            f"{' or '.join(map(repr, ACTIVATIONS))} for tensors with these names."
        )
    width = config.get("hidden_size", 768)
    registers = kind == "dinov2_with_registers"
    return {
        "type": "mmdino.VisionTransformer",
        "arch": {
            "embed_dims": width,
            "num_layers": config.get("num_hidden_layers", 12),
            "num_heads": config.get("num_attention_heads", 12),
        },
        "img_size": config.get("image_size", 224),
        "qkv_bias": config.get("qkv_bias", True),
        "norm_cfg": {"type": "LN", "eps": config.get("layer_norm_eps", 1e-6)},
        "pos_embed_offset": 0.0 if registers else 0.1,
        "pos_embed_antialias": registers,
        # The tensors tell a gated network, which does not have this activation.
        "ffn": ACTIVATIONS[activation],
    }


def huggingface_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``config.json`` of a ``VisionTransformer`` config with an ``arch`` dict.

    Raises:
        ValueError: If the model of Hugging Face cannot be the same network.
    """
    arch, size = config["arch"], config["img_size"]
    gated = is_gated(config)
    ratio = _mlp_ratio(arch["feedforward_channels"], arch["embed_dims"], gated)
    if not config.get("layer_scale_init_value"):
        raise ValueError(
            "The backbone has no LayerScale, but Hugging Face's Dinov2Model has. Train it with "
            "layer_scale_init_value=1e-5, or convert it to the authors or timm."
        )
    if not isinstance(size, int):
        raise ValueError(
            f"The backbone's img_size={size} is no square, but Hugging Face's Dinov2Model takes "
            "position embeddings of a square only. Convert it to the authors or timm."
        )
    registers = config.get("num_registers", 0)
    return {
        "architectures": ["Dinov2WithRegistersModel" if registers else "Dinov2Model"],
        "model_type": "dinov2_with_registers" if registers else "dinov2",
        "hidden_size": arch["embed_dims"],
        "num_hidden_layers": arch["num_layers"],
        "num_attention_heads": arch["num_heads"],
        "mlp_ratio": ratio,
        "hidden_act": hidden_act(config),
        "image_size": size,
        "patch_size": config["patch_size"],
        "num_channels": config["in_channels"],
        "qkv_bias": config.get("qkv_bias", True),
        "layer_norm_eps": norm_eps(config),
        "layerscale_value": config["layer_scale_init_value"],
        "use_swiglu_ffn": gated,
        **({"num_register_tokens": registers} if registers else {}),
    }


def _mlp_ratio(hidden: int, width: int, gated: bool) -> int:
    """Returns the whole ratio that gives the feed-forward network its width."""
    for ratio in range(1, hidden // width + 2):
        if ratio * width == hidden or (
            gated and swiglu_width(ratio * width) == swiglu_width(hidden)
        ):
            return ratio
    raise ValueError(
        f"The backbone's feedforward_channels={hidden} are no multiple of its width {width}, as "
        "they are in Hugging Face's Dinov2Model. Convert it to the authors or timm."
    )
