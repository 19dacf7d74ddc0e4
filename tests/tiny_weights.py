"""Files of weights small enough for a test, as each project writes them."""

from __future__ import annotations

import argparse
import re

import tiny_dinov2
import tiny_run
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmdino.utils.rotary import rotary_periods
from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.key_bias import without_key_bias
from mmdino.weights.layouts.renaming import strip_prefix

HEADS = tiny_run.ARCH["num_heads"]
VIT = {"type": "mmdino.VisionTransformer", "arch": tiny_run.ARCH, "img_size": 32}

MORE = {"layer_scale_init_value": 0.5, "mask_token": True}
DINOV2 = {
    "dinov2": MORE,
    "dinov2_registers": {
        **MORE,
        "num_registers": 3,
        "pos_embed_offset": 0.0,
        "pos_embed_antialias": True,
    },
    "dinov2_swiglu": {**MORE, "ffn": "swiglu"},
}
"""Options of the networks of DINOv2."""
ROTARY = {
    **MORE,
    "arch": {**tiny_run.ARCH, "embed_dims": 16, "feedforward_channels": 64},
    "learned_positions": False,
    "num_registers": 3,
    "norm_cfg": {"type": "LN", "eps": 1e-5},
    "position_encoding": {"type": "mmdino.RotaryPositions", "head_dims": 8},
}
DINOV3 = {
    "dinov3": {**ROTARY, "key_bias": False},
    "dinov3_swiglu": {**ROTARY, "ffn": "swiglu", "qkv_bias": False},
}
"""Options of the networks of DINOv3."""


def vit(**options):
    """A ViT of width 12 whose every tensor is random, so that none can be taken for another."""
    model = MODELS.build(VIT | {"patch_size": 8} | options)
    randomise(model)
    rotary = model.position_encoding
    if hasattr(rotary, "periods"):
        rotary.periods.copy_(rotary_periods(rotary.head_dims))
    if not options.get("key_bias", True):
        model.load_state_dict(without_key_bias(model.state_dict()))
    model.eval()
    return model


def dino(use_bn=False, cfg=None):
    """A DINO model whose student, teacher and centre are all random."""
    cfg = cfg or tiny_run.vit_model()
    cfg["head"]["use_bn"] = use_bn
    model = MODELS.build(cfg)
    randomise(model)
    model.eval()
    return model


def dinov2(patch_head=False, **backbone):
    """A DINOv2 model whose student, teacher and centres are all random."""
    cfg = tiny_dinov2.model()
    cfg["backbone"] |= {**MORE, **backbone}
    if patch_head:
        cfg["patch_head"] = {**cfg["head"], "out_channels": 48, "bottleneck_channels": 6}
    model = MODELS.build(cfg)
    randomise(model)
    return model.eval()


def save_dinov2_training_file(path, model, kind):
    """Writes a training file of DINOv2 with blocks in two chunks, as its authors do.

    Args:
        path: The file.
        model: A DINOv2 of two blocks.
        kind: ``"teacher"``, that alone, or ``"model"``, student and teacher in one dict.
    """
    names = {"backbone": "backbone", "head": "dino_head", "patch_head": "ibot_head"}
    tensors = {}
    for network, parts in (("student", model), ("teacher", model.teacher)):
        for ours, theirs in names.items():
            part = getattr(parts, ours, None)
            if part is None:
                continue
            state = part.state_dict()
            state = authors_vit.from_mmdino(state) if ours == "backbone" else state
            for key, tensor in state.items():
                chunked = re.sub(r"^blocks\.(\d)", r"blocks.\1.\1", key)
                tensors[f"{network}.{theirs}.{chunked}"] = tensor
    if kind == "model":
        centers = {
            "dino_loss.center": model.dino_loss.center,
            "ibot_patch_loss.center": model.ibot_loss.center[None],
        }
        torch.save({"model": tensors | centers, "iteration": 7}, path)
    else:
        torch.save({"teacher": strip_prefix(tensors, "teacher.")}, path)
    return path


def randomise(model, seed=0):
    """Draws all tensors, the running variances above 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)


def save_training_checkpoint(path, model, cfg=None):
    """Writes what mmengine's CheckpointHook writes, as far as weights are concerned."""
    text = Config({"model": cfg or tiny_run.vit_model(), "train_cfg": {"max_epochs": 2}})
    meta = {"epoch": 2, "iter": 6, "cfg": text.pretty_text}
    torch.save({"meta": meta, "state_dict": model.state_dict(), "message_hub": {}}, path)
    return path


def authors_names(state_dict):
    """A ViT's tensors under the names of the authors' files, spelled out once more."""
    parts = {"patch_embed.projection": "patch_embed.proj", "ln1": "norm"}
    in_block = {
        "ln1": "norm1",
        "ln2": "norm2",
        "attn.qkv": "attn.qkv",
        "attn.proj": "attn.proj",
        "ffn.layers.0.0": "mlp.fc1",
        "ffn.layers.1": "mlp.fc2",
    }
    for index in range(tiny_run.ARCH["num_layers"]):
        parts |= {f"layers.{index}.{k}": f"blocks.{index}.{v}" for k, v in in_block.items()}
    names = {
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in parts.items()
        for kind in ("weight", "bias")
    }
    return {names.get(name, name): tensor for name, tensor in state_dict.items()}


def save_authors_full(path, model, wrap_teacher=False):
    """Writes what the authors' training script writes; ``model`` is a DINO with a ViT."""

    def network(backbone, head):
        names = {f"backbone.{name}": value for name, value in authors_names(backbone).items()}
        return names | {f"head.{name}": value for name, value in head.items()}

    student = network(model.backbone.state_dict(), model.head.state_dict())
    teacher = network(*(model.teacher[part].state_dict() for part in ("backbone", "head")))
    # The authors' networks carry a classifier that nothing uses.
    student["backbone.head.weight"] = torch.ones(2, 12)
    checkpoint = {
        "student": {f"module.{name}": value for name, value in student.items()},
        "teacher": {("module." if wrap_teacher else "") + k: v for k, v in teacher.items()},
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_small", patch_size=8),
        "dino_loss": {"center": model.dino_loss.center},
    }
    torch.save(checkpoint, path)
    return path
