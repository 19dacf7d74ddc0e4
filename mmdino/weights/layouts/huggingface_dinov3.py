"""The names of Hugging Face's ``DINOv3ViTModel``, and its config.

The names of published files (``layer.0``) are written; those of a model in memory
(``model.layer.0``) are read too. The periods of rotary positions are not among the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmdino.utils.swiglu import swiglu_width
from mmdino.weights.layouts.key_bias import has_key_bias
from mmdino.weights.layouts.renaming import join_rows, rename, split_rows
from mmdino.weights.layouts.shared_periods import with_shared_periods
from mmdino.weights.specs import ACTIVATIONS, ROTARY, hidden_act, is_gated, norm_eps

MARKER = "embeddings.patch_embeddings.weight"
"""A tensor in every file of this layout."""
TYPE = "dinov3_vit"

_BLOCK = r"(?:model\.)?layer\.(\d+)\."
PARTS = ("query", "key", "value")
GATES = ("w1", "w2")
TO_MMDINO = (
    (r"embeddings\.(cls_token|mask_token|register_tokens)", r"\1"),
    (r"embeddings\.patch_embeddings\.", "patch_embed.projection."),
    (_BLOCK + r"norm([12])\.", r"layers.\1.ln\2."),
    (_BLOCK + r"attention\.q_proj\.", r"layers.\1.attn.query."),
    (_BLOCK + r"attention\.k_proj\.", r"layers.\1.attn.key."),
    (_BLOCK + r"attention\.v_proj\.", r"layers.\1.attn.value."),
    (_BLOCK + r"attention\.o_proj\.", r"layers.\1.attn.proj."),
    (_BLOCK + r"layer_scale1\.lambda1", r"layers.\1.attn.gamma1.weight"),
    (_BLOCK + r"layer_scale2\.lambda1", r"layers.\1.ffn.gamma2.weight"),
    (_BLOCK + r"mlp\.gate_proj\.", r"layers.\1.ffn.w1."),
)
FROM_MMDINO = (
    (r"(cls_token|mask_token|register_tokens)", r"embeddings.\1"),
    (r"patch_embed\.projection\.", "embeddings.patch_embeddings."),
    (r"layers\.(\d+)\.ln([12])\.", r"layer.\1.norm\2."),
    (r"layers\.(\d+)\.attn\.query\.", r"layer.\1.attention.q_proj."),
    (r"layers\.(\d+)\.attn\.key\.", r"layer.\1.attention.k_proj."),
    (r"layers\.(\d+)\.attn\.value\.", r"layer.\1.attention.v_proj."),
    (r"layers\.(\d+)\.attn\.proj\.", r"layer.\1.attention.o_proj."),
    (r"layers\.(\d+)\.attn\.gamma1\.weight", r"layer.\1.layer_scale1.lambda1"),
    (r"layers\.(\d+)\.ffn\.gamma2\.weight", r"layer.\1.layer_scale2.lambda1"),
    (r"layers\.(\d+)\.ffn\.layers\.0\.0\.", r"layer.\1.mlp.up_proj."),
    (r"layers\.(\d+)\.ffn\.layers\.1\.", r"layer.\1.mlp.down_proj."),
    (r"layers\.(\d+)\.ffn\.w1\.", r"layer.\1.mlp.gate_proj."),
    (r"layers\.(\d+)\.ffn\.w2\.", r"layer.\1.mlp.up_proj."),
    (r"layers\.(\d+)\.ffn\.w3\.", r"layer.\1.mlp.down_proj."),
    (r"ln1\.", "norm."),
)
GATED = (
    (_BLOCK + r"mlp\.up_proj\.", r"layers.\1.ffn.w2."),
    (_BLOCK + r"mlp\.down_proj\.", r"layers.\1.ffn.w3."),
)
PLAIN = (
    (_BLOCK + r"mlp\.up_proj\.", r"layers.\1.ffn.layers.0.0."),
    (_BLOCK + r"mlp\.down_proj\.", r"layers.\1.ffn.layers.1."),
)
DROPPED = re.compile(r"local_ln1\..*|position_encoding\.periods")
"""What the model of Hugging Face does not have."""


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors and concatenates query, key and value, and the gates.

    Keys without a bias get one of 0. The periods of rotary positions are missing.
    """
    # A model without registers has a tensor of none.
    state_dict = {
        name: tensor for name, tensor in state_dict.items() if not _no_registers(name, tensor)
    }
    gated = any(".mlp.gate_proj." in name for name in state_dict)
    # The norm is not "layernorm" here.
    rules = (*TO_MMDINO, *(GATED if gated else PLAIN), (r"norm\.", "ln1."))
    tensors = rename(state_dict, rules)
    for name in [name for name in tensors if name.endswith(".attn.query.bias")]:
        tensors.setdefault(name.replace("query", "key"), torch.zeros_like(tensors[name]))
    mask_token = tensors.get("mask_token")
    if mask_token is not None:
        tensors["mask_token"] = mask_token.flatten(0, -2)
    return join_rows(join_rows(tensors, PARTS, "qkv"), GATES, "w12")


def from_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Splits queries, keys and values, and the gates, and renames the tensors.

    A network without mask token gets one of 0, which the features do not depend on.

    Raises:
        ValueError: If blocks have different periods of rotary positions.
    """
    state_dict = with_shared_periods(state_dict)
    key_bias = has_key_bias(state_dict)
    width = state_dict["cls_token"].shape[-1]
    absent = {"mask_token": torch.zeros(1, width), "register_tokens": torch.zeros(1, 0, width)}
    tensors = {**absent, **state_dict}
    tensors["mask_token"] = tensors["mask_token"].unsqueeze(0)
    tensors = split_rows(split_rows(tensors, PARTS, "qkv"), GATES, "w12")
    return rename(
        {
            name: tensor
            for name, tensor in tensors.items()
            if not DROPPED.fullmatch(name) and (key_bias or not name.endswith(".attn.key.bias"))
        },
        FROM_MMDINO,
    )


def _no_registers(name: str, tensor: Tensor) -> bool:
    return name == "embeddings.register_tokens" and tensor.numel() == 0


def backbone_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``mmdino.VisionTransformer`` config of a ``config.json``.

    Raises:
        ValueError: If it is not the config of a ``DINOv3ViTModel`` with GELU, its approximation
            or SwiGLU.
    """
    allowed = {"silu": "swiglu"} if config.get("use_gated_mlp", False) else ACTIVATIONS
    kind, activation = config.get("model_type"), config.get("hidden_act", "gelu")
    if kind != TYPE or activation not in allowed:
        raise ValueError(
            f"The config.json has model_type={kind!r} and hidden_act={activation!r}: expected "
            f"model_type {TYPE!r} and hidden_act {' or '.join(map(repr, allowed))} for tensors "
            "with these names."
        )
    return {
        "type": "mmdino.VisionTransformer",
        "arch": {
            "embed_dims": config.get("hidden_size", 384),
            "num_layers": config.get("num_hidden_layers", 12),
            "num_heads": config.get("num_attention_heads", 6),
        },
        "img_size": config.get("image_size", 224),
        "norm_cfg": {"type": "LN", "eps": config.get("layer_norm_eps", 1e-5)},
        "ffn": allowed[activation],
        "learned_positions": False,
        "position_encoding": {"type": ROTARY, "base": config.get("rope_theta", 100.0)},
    }


def huggingface_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the ``config.json`` of a ``VisionTransformer`` config with an ``arch`` dict.

    Raises:
        ValueError: If the model of Hugging Face cannot be the same network.
    """
    arch, size = config["arch"], config["img_size"]
    if not config.get("layer_scale_init_value"):
        raise ValueError(
            "The backbone has no LayerScale, but Hugging Face's DINOv3ViTModel has. Train it with "
            "layer_scale_init_value=1e-5, or convert it to the authors or timm."
        )
    gated = is_gated(config)
    bias = config.get("qkv_bias", True)
    hidden = arch["feedforward_channels"]
    return {
        "architectures": ["DINOv3ViTModel"],
        "model_type": TYPE,
        "hidden_size": arch["embed_dims"],
        "num_hidden_layers": arch["num_layers"],
        "num_attention_heads": arch["num_heads"],
        "intermediate_size": swiglu_width(hidden) if gated else hidden,
        "hidden_act": "silu" if gated else hidden_act(config),
        "use_gated_mlp": gated,
        "image_size": size if isinstance(size, int) else list(size),
        "patch_size": config["patch_size"],
        "num_channels": config["in_channels"],
        "num_register_tokens": config.get("num_registers", 0),
        "query_bias": bias,
        "key_bias": bias and config.get("key_bias", True),
        "value_bias": bias,
        "rope_theta": config["position_encoding"]["base"],
        "layer_norm_eps": norm_eps(config),
        "layerscale_value": config["layer_scale_init_value"],
    }
