"""A DINOv2 run small enough for a test."""

from __future__ import annotations

import tiny_run
import torch
from mmengine.dataset import default_collate
from mmengine.registry import MODELS

VIEW, PATCH = 32, 8
PATCHES = (VIEW // PATCH) ** 2
BLOCK_MASKS = {"type": "mmdino.BlockMasks", "view_size": VIEW, "patch_size": PATCH}
SINKHORN = {"targets": "sinkhorn_knopp"}
RUNS = {
    "dinov2_centered_shared": {},
    "dinov2_centered_separate": {"separate": True},
    "dinov2_sinkhorn_shared": {"losses": SINKHORN},
    "dinov2_sinkhorn_separate": {"losses": SINKHORN, "separate": True},
    # With everything that draws random numbers.
    "dinov2_drawn": {"block_masks": True, "backbone": {"drop_path_rate": 0.4}},
}
"""What differs between runs, as arguments of :func:`run`."""


class RandomViews(tiny_run.RandomViews):
    """Views with the seed that masks are drawn from."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample["data_samples"].set_metainfo({"sample_idx": index})
        return sample


def collate_masks(batch):
    """Masks three patches of the first view of an image, whatever the batch that it is in."""
    masks = torch.zeros(2, len(batch), PATCHES, dtype=torch.bool)
    for row, sample in enumerate(batch):
        first = sum(sample["data_samples"].sample_idx.seed) % (PATCHES - 3)
        masks[0, row, first : first + 3] = True
    indices = masks.flatten().nonzero().squeeze(1)
    return {**default_collate(batch), "masks": masks, "mask_indices": indices}


def run(name, images=16, wrapper=None, **changes):
    """What a run of four epochs passes to ``tiny_run.build``.

    Args:
        name: One of RUNS.
        images: Images of an epoch.
        wrapper: Changes of the optimiser wrapper.
        **changes: Other options, in place of those here.
    """
    return _options(images, wrapper, changes, **RUNS[name])


def _options(
    images, wrapper, changes, losses=None, separate=False, block_masks=False, backbone=None
):
    losses = losses or {}
    cfg = model(loss={**losses, "teacher_temp": 0.07}, ibot={**losses, "teacher_temp": 0.07})
    cfg["backbone"] |= {
        "layer_scale_init_value": 1e-5,
        "drop_path_uniform": True,
        "drop_path_rows": True,
        **(backbone or {}),
    }
    # So that several ranks see what one process does.
    cfg["koleo"] = {"over_ranks": True}
    prototypes = ["head.last_layer"]
    if separate:
        cfg["patch_head"] = {**cfg["head"], "out_channels": 20}
        prototypes.append("patch_head.last_layer")
    hooks = tiny_run.hooks(
        LastLayerFreezeHook={"epochs": 1, "layer": prototypes, "what": "step"},
        TeacherTempWarmupHook={"start": 0.04, "epochs": 2, "by_step": True},
        CenterUpdateHook=None if losses else {},
    )
    return {
        "model": cfg,
        "custom_hooks": hooks,
        "dataset": RandomViews(images, torch.get_default_dtype()),
        "collate_fn": BLOCK_MASKS if block_masks else collate_masks,
        "epochs": 4,
        "wrapper": {
            "clip_grad": {"type": "per_network", "max_norm": 0.3},
            "paramwise_cfg": {"layer_decay": 0.9, "patch_embed_lr_mult": 0.2},
            **(wrapper or {}),
        },
        **changes,
    }


def model(**options):
    """Config of DINOv2 with a ViT of width 12."""
    dino = tiny_run.vit_model()
    return {
        **dino,
        "type": "mmdino.DINOv2",
        "backbone": {**dino["backbone"], "out_type": "features", "mask_token": True},
        "head": {**dino["head"], "norm_last_layer": False},
        **options,
    }


def batch(batch_size=4, sizes=(VIEW, VIEW, 16, 16), masked=3):
    """Views and masks of a batch, in which each other global crop has ``masked`` patches masked."""
    generator = torch.Generator().manual_seed(1)
    views = [
        torch.randn(batch_size, 3, size, size, generator=generator, dtype=torch.float64)
        for size in sizes
    ]
    masks = torch.zeros(2, batch_size, PATCHES, dtype=torch.bool)
    masks[:, ::2, :masked] = True
    return {
        "inputs": views,
        "masks": masks,
        "mask_indices": masks.flatten().nonzero().squeeze(1),
    }


TEACHER_ARCH = {"embed_dims": 20, "num_layers": 3, "num_heads": 4, "feedforward_channels": 40}


def larger(**options):
    """Config of DINOv2 with a ViT of width 20."""
    cfg = model()
    return {
        **cfg,
        "backbone": {**cfg["backbone"], "arch": TEACHER_ARCH},
        "head": {**cfg["head"], "in_channels": 20},
        **options,
    }


def write_teacher(path, seed=5, **options):
    """Writes a checkpoint of the larger network, all of whose tensors are random; returns it."""
    network = MODELS.build(larger(**options))
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.parameters():
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    torch.save({"state_dict": network.state_dict()}, path)
    return network


def frozen_teacher(checkpoint, **changes):
    """Config of the frozen teacher in a checkpoint of :func:`write_teacher`."""
    cfg = larger()
    return {
        "backbone": cfg["backbone"],
        "head": cfg["head"],
        "checkpoint": str(checkpoint),
        **changes,
    }


def distillation(checkpoint, **options):
    """Config of a distillation into the ViT of width 12."""
    cfg = model(**options)
    backbone = {**cfg["backbone"], "mask_token": False}
    return {**cfg, "backbone": backbone, "frozen_teacher": frozen_teacher(checkpoint), **options}
