"""Networks of the reference arrays of feature distillation, in the names of this project."""

from __future__ import annotations

import re

import torch

from mmdino.weights.layouts import authors_vit

TABLE = "rel_pos_bias.relative_position_bias_table"
STUDENT_ARCH = {"embed_dims": 12, "num_layers": 2, "num_heads": 2, "feedforward_channels": 24}
TEACHER_ARCH = {"embed_dims": 8, "num_layers": 2, "num_heads": 2, "feedforward_channels": 16}


def student(**options):
    """Config of the student: a shared table of relative positions, no bias on keys."""
    return {
        "type": "mmdino.VisionTransformer",
        "arch": STUDENT_ARCH,
        "img_size": 12,
        "patch_size": 4,
        "out_type": "features",
        "key_bias": False,
        "learned_positions": False,
        "layer_scale_init_value": 0.1,
        "weight_init": "beit",
        "position_encoding": {"type": "mmdino.RelativePositionBias", "num_heads": 2, "grid": 3},
        **options,
    }


def teacher(**options):
    """Config of DINO's ViT as a teacher."""
    return {
        "type": "mmdino.VisionTransformer",
        "arch": TEACHER_ARCH,
        "img_size": 12,
        "patch_size": 4,
        "out_type": "features",
        **options,
    }


def student_weights(reference, prefix="encoder."):
    """Tensors, or gradients, of the reference's student in our names."""
    found = {
        name.removeprefix(prefix): tensor
        for name, tensor in reference.items()
        if name.startswith(prefix)
    }
    renamed = {}
    for name, tensor in found.items():
        block = re.fullmatch(r"(blocks\.\d+\.attn\.)v_bias", name)
        if block:
            query = found[f"{block[1]}q_bias"]
            bias = torch.cat([query, torch.zeros_like(query), tensor])
            renamed[f"{block[1]}qkv.bias"] = bias
        elif not name.endswith(".q_bias"):
            renamed[re.sub(r"\.gamma_([12])$", r".ls\1.gamma", name)] = tensor
    if TABLE in renamed:
        renamed["position_encoding.table"] = renamed.pop(TABLE)
    return authors_vit.to_mmdino(renamed)


def model_weights(reference):
    """The same of the whole model: backbone and projector."""
    backbone = {f"backbone.{name}": t for name, t in student_weights(reference).items()}
    return backbone | {
        "projectors.0.weight": reference["decoder.0.weight"].squeeze(-1),
        "projectors.0.bias": reference["decoder.0.bias"],
    }
