"""Strict loading of pretrained backbones."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from mmdino.weights.layouts import swin
from mmdino.weights.layouts.renaming import add_prefix
from mmdino.weights.matching import (
    POS_EMBED,
    allow_pos_embed_resize,
    compare,
    copy_shared_positions,
)
from mmdino.weights.networks import (
    UNUSED,
    backbone_weights,
    is_known,
    other_backbone_tensors,
)
from mmdino.weights.specs import POS_EMBED_OFFSET, VIT, config_in_meta, norm_eps

KNOWN_KEYS = {"type", "checkpoint", "prefix", "network", "map_location"}
OPTIONAL = ("ln1.", "local_ln1.", "mask_token")
"""Final norms and mask token, which a network may lack."""
MASK_TOKEN = "mask_token"
TIMM = "timm_model."
"""What the names of mmpretrain's ``TIMMBackbone`` begin with."""


def pretrained_cfg(init_cfg: dict | Sequence[dict] | None) -> dict | None:
    """Returns the entry of type ``Pretrained`` of an ``init_cfg``, or None.

    Raises:
        ValueError: If an entry has no type.
    """
    entries = [init_cfg] if isinstance(init_cfg, dict) else list(init_cfg or ())
    for entry in entries:
        if "type" not in entry:
            raise ValueError(
                f"init_cfg={dict(entry)} has no type. To load weights, add type='Pretrained', e.g. "
                "on the command line model.backbone.init_cfg.type=Pretrained "
                "model.backbone.init_cfg.checkpoint=PATH."
            )
    return next((entry for entry in entries if entry["type"] == "Pretrained"), None)


def load_pretrained(module: nn.Module, init_cfg: dict) -> None:
    """Loads a backbone from any file that :func:`backbone_weights` reads.

    Backbones of other families than ViT and ResNet take a file with the names of their own.
    mmpretrain's Swin also takes one of Swin's authors, EsViT or timm, its ``TIMMBackbone`` one of
    timm.

    mmengine logs mismatches and continues with random weights; here the tensors of file and module
    must be the same, with these exceptions: position embeddings and tables may differ in length,
    since the ViT resizes them; windows and maps of a Swin may have another size; a table that the
    blocks of the file share is copied to blocks that have their own; a module without final norm,
    norm of local views or mask token ignores that of the file; and a mask token that the file lacks
    keeps its start value. Options that change what is computed, such as the eps of the norms, are
    those of the module; a warning says where the file has others.

    Args:
        module: The backbone, with mmpretrain's names.
        init_cfg: ``checkpoint`` (path), and optionally ``prefix`` (of the tensors' names; detected
            by default) and ``network`` (``"teacher"``, the default, or ``"student"``).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a key is unknown, or file and module do not match.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small",
        ...     init_cfg=dict(type="Pretrained", checkpoint="work_dirs/dino_vits16/epoch_800.pth"))
    """
    kind = type(module).__name__
    unknown = sorted(set(init_cfg) - KNOWN_KEYS)
    path = init_cfg.get("checkpoint")
    if unknown or not path:
        raise ValueError(
            f"invalid init_cfg={dict(init_cfg)} of {kind}: expected checkpoint=PATH and optionally "
            f"prefix and network{f', not {unknown}' if unknown else ''}."
        )
    network, prefix = init_cfg.get("network", "teacher"), init_cfg.get("prefix")
    heads = getattr(module, "arch_settings", {}).get("num_heads")
    expected = module.state_dict()
    try:
        if is_known(expected):
            weights = backbone_weights(path, network, prefix, num_heads=heads)
            found, layout, config = weights.state_dict, weights.layout, weights.config
        else:
            tensors, config = other_backbone_tensors(path, network, prefix), None
            found, layout = _other_names(tensors, expected)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Set init_cfg.checkpoint of {kind} to your checkpoint, e.g. with "
            "--cfg-options, or init_cfg=None for an untrained network."
        ) from error
    tensors = copy_shared_positions(found, expected)
    for prefix in OPTIONAL:
        if not any(name.startswith(prefix) for name in expected):
            tensors = {
                name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)
            }
    match = compare(tensors, allow_pos_embed_resize(expected, tensors))
    if match.different or match.unexpected or set(match.missing) - {MASK_TOKEN}:
        raise ValueError(
            f"{path} ({layout}) does not match {kind}: {match}. Set arch and patch_size, "
            "or the depth of a ResNet, to those of the pretraining; mmpretrain's name for DINO's "
            "ViT-S is 'deit-small'."
        )
    # A file without config may be of any grid of so many patches, so of the module's too.
    if config is not None and ("huggingface" in weights.meta or config_in_meta(weights.meta)):
        tensors = _with_grid_of(module, tensors, config)
    module.load_state_dict({name: expected[name] for name in match.missing} | tensors)
    print_log(f"{kind}: {match} from {path} ({layout}).", logger="current")
    other = [] if config is None else other_options(module, config)
    if other:
        print_log(
            f"{kind} computes other features than the network of {path}, since it has "
            f"{', '.join(other)}. Set these options of the backbone to those of the file.",
            logger="current",
            level=logging.WARNING,
        )


def _with_grid_of(
    module: nn.Module, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Resizes position embeddings of another grid than the module's.

    Their number alone does not tell the grid: 4 x 4 patches are as many as 2 x 8.

    Args:
        module: The backbone.
        tensors: Tensors of the file, which match it but for the number of positions.
        config: Config of the backbone in the file.
    """
    positions, own = tensors.get(POS_EMBED), getattr(module, "patch_resolution", None)
    if positions is None or own is None:
        return dict(tensors)
    size = config["img_size"]
    sides = size if isinstance(size, list) else [size, size]
    grid = tuple(side // config["patch_size"] for side in sides)
    if grid == tuple(own):
        return dict(tensors)
    return {**tensors, POS_EMBED: module.positions_of_grid(positions, grid)}


def _other_names(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """Gives the tensors of another family the names of the network, and says what they were.

    A classifier that the network does not have is left out.
    """
    found, layout = dict(tensors), "as it is"
    wrapped = all(name.startswith(TIMM) for name in expected)
    if swin.is_swin(expected):
        if swin.has_names(tensors):
            found, layout = swin.to_mmpretrain(tensors, expected), "names of Swin's authors or timm"
        elif windows := swin.windows_trained_for(tensors, expected):
            print_log(
                f"The network of the file was trained with windows of {windows} and scales "
                f"distances by them. Set model.backbone.pretrained_window_sizes={windows}.",
                logger="current",
                level=logging.WARNING,
            )
        found = swin.with_own_windows(found, expected)
    elif wrapped and not any(name.startswith(TIMM) for name in tensors):
        found, layout = add_prefix(tensors, TIMM), "timm's names"
    kept = {
        name: tensor
        for name, tensor in found.items()
        if name in expected or not name.removeprefix(TIMM).startswith(UNUSED)
    }
    return kept, layout


def other_options(module: nn.Module, config: Mapping[str, Any]) -> list[str]:
    """Describes the options of a ViT that no tensor shows and that differ from a config's."""
    if config["type"] != VIT:
        return []
    eps = getattr(getattr(module, "ln1", None), "eps", None)
    found = {
        "layer-norm eps": (eps, norm_eps(config)),
        "pos_embed_offset": (
            getattr(module, "pos_embed_offset", None),
            config.get("pos_embed_offset", POS_EMBED_OFFSET),
        ),
        "pos_embed_antialias": (
            getattr(module, "pos_embed_antialias", None),
            config.get("pos_embed_antialias", False),
        ),
    }
    if not config.get("learned_positions", True):
        del found["pos_embed_offset"], found["pos_embed_antialias"]
    return [
        f"{name} {own!r} instead of {theirs!r}"
        for name, (own, theirs) in found.items()
        if own is not None and own != theirs
    ]
