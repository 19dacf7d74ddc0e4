"""Networks of the reference arrays of feature distillation, in the names of this project."""

from __future__ import annotations

import re

import tiny_run
import torch
from mmengine.registry import MODELS
from torch import nn

from mmdino.weights.layouts import authors_vit, beit
from mmdino.weights.layouts.renaming import strip_prefix

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
    return beit.to_mmdino(strip_prefix(reference, prefix))


def model_weights(reference):
    """The same of the whole model: backbone and projector."""
    backbone = {f"backbone.{name}": t for name, t in student_weights(reference).items()}
    return backbone | {
        "projectors.0.weight": reference["decoder.0.weight"].squeeze(-1),
        "projectors.0.bias": reference["decoder.0.bias"],
    }


def clip_teacher(**options):
    """Config of CLIP's image tower."""
    arch = {**TEACHER_ARCH, "feedforward_channels": 32}
    norm = {"type": "LN", "eps": 1e-5}
    return teacher(arch=arch, pre_norm=True, norm_cfg=norm, ffn="mlp_quick_gelu", **options)


def model(checkpoint, student_cfg=None, **options):
    """Config of a distillation; ``options`` are the teacher's."""
    return {
        "type": "mmdino.FeatureDistillation",
        "backbone": student_cfg or student(),
        "teacher": {"backbone": teacher(), "checkpoint": str(checkpoint), **options},
    }


def loaded(cfg):
    """Builds a model in float64, with the weights of its teachers, in train mode."""
    built = MODELS.build(cfg).double()
    for one in built.teachers:
        # Before they are read, which rounds them to the precision of the network.
        one.frozen.network.double()
    built.init_weights()
    return built.train()


def swin(version, sizes):
    """Config of mmpretrain's Swin of a version, with the sizes of the reference."""
    arch = {"embed_dims": 4, "depths": sizes["depths"], "num_heads": sizes["num_heads"]}
    arch = {name: v if isinstance(v, int) else v.tolist() for name, v in arch.items()}
    cfg = {
        "type": "mmpretrain.SwinTransformer",
        "arch": arch,
        "img_size": int(sizes["img_size"]),
        "patch_size": int(sizes["patch_size"]),
        "window_size": int(sizes["window_size"]),
        "out_indices": (2,),
        "drop_path_rate": 0.0,
        "stage_cfgs": {"block_cfgs": {"ffn_ratio": 2.0}},
    }
    if version == 2:
        arch["extra_norm_every_n_blocks"] = 0
        cfg["type"] = "mmpretrain.SwinTransformerV2"
    return cfg


def finetuned_name(name):
    """Our name of a parameter of the reference's fine-tuning model."""
    if name.startswith(("fc_norm", "head")):
        return f"head.{name}"
    table = re.fullmatch(r"blocks\.(\d+)\.attn\.relative_position_bias_table", name)
    if table:
        return f"backbone.layers.{table[1]}.position_encoding.table"
    name = re.sub(r"attn\.[qv]_bias$", "attn.qkv.bias", name)
    name = re.sub(r"gamma_([12])$", r"ls\1.gamma", name)
    (ours,) = authors_vit.to_mmdino({name: torch.empty(0)})
    return f"backbone.{ours}"


def refine_swin(backbone, window):
    """Makes the position MLPs of a SwinV2 those of the reference: 8 hidden channels, in float64.

    mmpretrain's have 512 hidden channels, and coordinates that are computed in float32.
    """
    for module in backbone.modules():
        if not hasattr(module, "cpb_mlp"):
            continue
        layers = [nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, module.num_heads, bias=False)]
        module.cpb_mlp = nn.Sequential(*layers).double()
        table = module.relative_coords_table
        offsets = ((8 ** table.abs() - 1) * (window - 1) / 8).round()
        exact = torch.log2(8 * offsets / (window - 1) + 1) / 3
        module.relative_coords_table = table.sign() * exact


def write_teacher(path, seed=1):
    """Writes a file of the teacher, drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vit = MODELS.build(teacher())
    torch.save({"state_dict": vit.state_dict()}, path)


def run(checkpoint, drop_path_rate=0.2, wrapper=None, hooks=(), images=12, **changes):
    """What a run passes to ``tiny_run.build``.

    Args:
        checkpoint: File of the teacher.
        drop_path_rate: Stochastic depth of the student.
        wrapper: Changes of the optimiser wrapper.
        hooks: Configs of further hooks.
        images: Images of an epoch.
        **changes: Other options, in place of those here.
    """
    schedule = {"type": "mmdino.WarmupCosineLR", "warmup": 1, "start_ratio": 0.1, "delayed": True}
    epochs = {"by_epoch": True, "convert_to_iter_based": True}
    own = ("IterationSeedHook", "FiniteLossHook", "CheckpointMatchHook")
    dtype = torch.get_default_dtype()
    return {
        "model": model(checkpoint, student(drop_path_rate=drop_path_rate)),
        "dataset": tiny_run.RandomViews(images, dtype, view_sizes=(12,)),
        "wrapper": {
            "clip_grad": {"max_norm": 3.0},
            "paramwise_cfg": {"not_decayed": "cls_token"},
            **(wrapper or {}),
        },
        "param_scheduler": [{**schedule, **epochs}],
        "custom_hooks": [*({"type": f"mmdino.{name}"} for name in own), *hooks],
        **changes,
    }
