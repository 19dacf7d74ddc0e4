"""Backbones from any weight file."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdino.utils.rotary import rotary_periods
from mmdino.weights.checks import require_weights, state_dict_of
from mmdino.weights.files import read_checkpoint
from mmdino.weights.layouts import (
    authors_vit,
    beit,
    clip,
    huggingface_clip,
    huggingface_dinov2,
    huggingface_dinov3,
    huggingface_vit,
    swin,
    timm_vit,
)
from mmdino.weights.layouts.key_bias import without_key_bias
from mmdino.weights.layouts.renaming import strip_prefix
from mmdino.weights.matching import compare
from mmdino.weights.specs import (
    BLOCK_PERIODS,
    NORM_EPS,
    PERIODS,
    PRE_NORM,
    QUICK_GELU,
    RESNET,
    ROTARY,
    VIT,
    config_in_meta,
    json_dict,
    norm_eps,
    released_options,
    resnet_config,
    vit_config,
)
from mmdino.weights.stored_networks import (
    backbone_class,
    checked_config,
    shown_by_tensors,
    stored_backbone,
)

Network = Literal["teacher", "student"]

UNUSED = ("fc.", "head.", "fc_norm.", "pooler.", "classifier.")
"""Tensors beside the backbone in other projects' files: classifiers and poolers."""
VIT_UNUSED = ("embeddings.mask_token",)
"""The same of Hugging Face's ``ViTModel``, whose mask token DINO does not train."""
FINAL_NORM, POOLED_NORM = "ln1.weight", "fc_norm.weight"
"""The norm of all tokens at the end, and that of their mean, which fine-tuning may have instead."""
DECODER = ("decoder_", "mask_token")
"""The same of MAE's authors, by the start of names, in a file with a decoder."""
WHOLE = (
    (clip.TOWER, re.compile(clip.MARKER), "the image tower of a CLIP"),
    (
        huggingface_clip.TOWER,
        re.compile(huggingface_clip.MARKER.replace(".", r"\.")),
        "the image tower of a CLIP",
    ),
    ("vit.", re.compile(huggingface_vit.MARKER.replace(".", r"\.")), "a model with one backbone"),
    *(
        (
            f"{kind}.",
            re.compile(huggingface_dinov2.MARKER.replace(".", r"\.")),
            "a model with one backbone",
        )
        for kind in huggingface_dinov2.TYPES
    ),
    ("encoder.", authors_vit.MARKER, "a feature distillation of its authors"),
    ("encoder.", swin.MARKER, "a feature distillation of its authors"),
)
"""Networks of other projects of which the backbone is a part: the start of its names, a name of it,
and what the file is."""
OWN_PREFIXES = ("backbone.", "teacher.backbone.", "student.backbone.")
"""What the names of the backbone begin with whose config a checkpoint has."""
WRAPPERS = ("module.", "_orig_mod.")
"""What the names begin with in the file of a DDP wrapper and of a compiled network."""
VIT_MARKER, RESNET_MARKER = "layers.0.ln1.weight", "layer1.0.conv1.weight"
"""A tensor of every ViT and of every ResNet."""
NAMES = {
    ("vit", "mmdino"): "mmpretrain's",
    ("vit", "authors"): "the authors' and timm's",
    ("vit", "timm"): "timm's",
    ("vit", "huggingface"): "Hugging Face's",
    ("vit", "clip"): "OpenAI's",
    ("resnet", "authors"): "torchvision's",
    ("other", "mmdino"): "mmpretrain's",
}
AUTHORS_FULL = "the authors' full file"


class BackboneWeights(NamedTuple):
    """A backbone's tensors and the config that builds it."""

    kind: Literal["vit", "resnet", "other"]
    """``"other"`` is a class of mmpretrain's, built as the config in the file says."""
    state_dict: dict[str, Tensor]
    """Tensors in mmpretrain's names."""
    config: dict[str, Any]
    """Config of a ``mmdino.VisionTransformer``, a ``mmdino.ResNet`` or another class."""
    layout: str
    """Description of the kind of file and of its names."""
    project: Literal["mmdino", "authors", "timm", "huggingface", "clip"]
    """Whose names the file has. Those of torchvision's ResNet, and of timm's ViT where it has the
    same, are the authors'; ``"clip"`` are OpenAI's."""
    source_tensors: dict[str, Tensor]
    """The same tensors in the file's names."""
    network: str
    """``"teacher"``, ``"student"``, or ``"backbone"`` if the file does not specify it."""
    heads_from: str
    """Description of the source of the number of heads; empty for what is no ViT."""
    unused: tuple[str, ...]
    """Names of ignored tensors beside the backbone, such as ``fc.weight``."""
    meta: Mapping[str, Any]
    """``meta`` of the file, with the config of its run; empty if it has none."""
    gelu_from: str = ""
    """Description of the source of CLIP's GELU; empty if the file says it, or for no CLIP."""

    def __str__(self) -> str:
        network = "" if self.network == "backbone" else f"the {self.network} in "
        unused = f"; left out: {', '.join(self.unused)}" if self.unused else ""
        config = describe(self.config, self.heads_from, self.gelu_from)
        return f"{network}{self.layout}; {config}{unused}"


def input_channels(backbone: nn.Module) -> int:
    """Returns the number of channels of the images that a backbone takes."""
    return next(weight.shape[1] for weight in backbone.parameters() if weight.dim() == 4)


def image_side(config: Mapping[str, Any], default: int) -> int:
    """Returns the shorter side in pixels of the images that a backbone's config is made for.

    Args:
        config: Config of the backbone.
        default: What to return of one that takes any size.
    """
    size = config.get("img_size") or default
    return size if isinstance(size, int) else min(size)


def describe(config: Mapping[str, Any], heads_from: str, gelu_from: str = "") -> str:
    """Describes the network of a backbone config in one line."""
    if config["type"] == RESNET:
        return f"ResNet-{config['depth']}"
    if config["type"] != VIT:
        return f"{config['type']}, as the config in the file says"
    arch = config["arch"]
    eps = norm_eps(config)
    gelu = "QuickGELU" if config.get("ffn") == QUICK_GELU else "GELU" if gelu_from else ""
    return (
        f"ViT, width {arch['embed_dims']}, depth {arch['num_layers']}, {arch['num_heads']} heads "
        f"({heads_from}), patch {config['patch_size']}, image {config['img_size']}"
        + (f", layer-norm eps {eps:g} instead of DINO's {NORM_EPS:g}" if eps != NORM_EPS else "")
        + (f", {gelu}" if gelu else "")
        + (f" ({gelu_from})" if gelu_from else "")
    )


def backbone_weights(
    path: str | Path,
    network: Network = "teacher",
    prefix: str | None = None,
    num_heads: int | None = None,
    gelu: Literal["exact", "quick"] | None = None,
) -> BackboneWeights:
    """Finds the backbone in a weight file.

    The file may be a checkpoint of mmdino or of an mmpretrain or mmseg run, an extracted backbone,
    the authors' backbone or full checkpoint, a CLIP of OpenAI or open_clip, a feature distillation
    of its authors, or a file in timm's, torchvision's or Hugging Face's names. Other backbones of
    mmpretrain, such as ``SwinTransformerV2`` or ``ResNet_CIFAR``, and those that another package
    registers, are found in checkpoints of runs, which have their config.

    Args:
        path: A path or URL for :func:`read_checkpoint`.
        network: Which network to use if the file has both.
        prefix: If given, only tensors whose names start with it are used.
        num_heads: Number of heads of a ViT, if it cannot be inferred.
        gelu: GELU of a CLIP whose file does not say it: ``"exact"``, or ``"quick"`` for OpenAI's
            approximation. By default it is assumed from the kind of file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has no such network or prefix, or no known backbone, or says the
            GELU itself.
    """
    if network not in ("teacher", "student"):
        raise ValueError(f"invalid network={network!r}: expected 'teacher' or 'student'.")
    if network == "student" and prefix is not None:
        raise ValueError(
            f"network='student' and prefix={prefix!r} were given, but the prefix determines the "
            "network. Omit one of the two."
        )
    checkpoint = read_checkpoint(path)
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    found, which, origin = _find_backbone(checkpoint, meta, network, prefix, str(path))
    other = _other_config(found, meta, prefix)
    if other is not None:
        require_weights(_floating(found), str(path))
        return BackboneWeights(
            kind="other",
            state_dict=found,
            config=checked_config(other, found, str(path)),
            layout=f"{origin}, {NAMES['other', 'mmdino']} names",
            project="mmdino",
            source_tensors=found,
            network=which,
            heads_from="",
            unused=(),
            meta=meta,
        )
    unused = tuple(name for name in found if _is_unused(name, found))
    source = {name: tensor for name, tensor in found.items() if name not in unused}
    require_weights(source, str(path))
    beside = {name: found[name] for name in unused}
    found, project, stored = _renamed(source, unused, meta)
    stored, gelu_from = _with_gelu(stored, found, project, beside, meta, gelu)
    if VIT_MARKER in found:
        kind = "vit"
        config, heads_from = vit_config(found, stored, num_heads)
        found = _completed(found, config)
    elif RESNET_MARKER in found:
        kind, project = "resnet", "authors"
        config, heads_from = resnet_config(found), ""
    else:
        raise ValueError(
            f"The {len(found)} tensors of {path}{f' below {prefix!r}' if prefix else ''} are of no "
            f"known backbone: {', '.join(list(found)[:5])}. Known are ViTs in the names of "
            "mmpretrain, the authors, timm, OpenAI or Hugging Face, ResNets in torchvision's, and "
            "other backbones of mmpretrain in the checkpoint of a run, which has their config."
        )
    return BackboneWeights(
        kind=kind,
        state_dict=found,
        config=config,
        layout=f"{origin}, {NAMES[kind, project]} names",
        project=project,
        source_tensors=source,
        network=which,
        heads_from=heads_from,
        unused=unused,
        meta=meta,
        gelu_from=gelu_from,
    )


def _other_config(
    tensors: Mapping[str, Tensor], meta: Mapping[str, Any], prefix: str | None
) -> dict[str, Any] | None:
    """Returns the config in a file of a backbone that its tensors do not show, or None."""
    stored = stored_backbone(meta)
    if stored is None or shown_by_tensors(stored) or prefix not in (None, *OWN_PREFIXES):
        return None
    # A class that is not known here may have the tensors of one that is.
    return stored if backbone_class(stored["type"]) or not is_known(tensors) else None


def _floating(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors without indices, such as those of windows, which are no weights."""
    return {name: t for name, t in tensors.items() if t.is_floating_point()}


def _is_unused(name: str, state_dict: Mapping[str, Tensor]) -> bool:
    """Whether a tensor in a file's names is beside the backbone."""
    layout = huggingface_layout(state_dict)
    if clip.MARKER in state_dict:
        return name in clip.UNUSED
    if layout is huggingface_clip:
        return name in huggingface_clip.UNUSED
    starts = UNUSED
    if layout is huggingface_vit:
        starts = (*UNUSED, *VIT_UNUSED)
    elif "decoder_embed.weight" in state_dict:
        starts = (*UNUSED, *DECODER)
    return name.startswith(starts) or name.endswith(beit.INDEX)


def is_known(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether tensors are those of a network that :func:`backbone_weights` knows, in our names."""
    return any(marker in state_dict for marker in (VIT_MARKER, RESNET_MARKER))


def other_backbone_tensors(
    path: str | Path, network: Network = "teacher", prefix: str | None = None
) -> dict[str, Tensor]:
    """Finds the tensors of a backbone of another family, such as a Swin, under their own names.

    Those of a classifier are among them.

    Args:
        path: As in :func:`backbone_weights`.
        network: As there.
        prefix: As there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file has no such network or prefix, or a value that is not finite.
    """
    checkpoint = read_checkpoint(path)
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    found, _, _ = _find_backbone(checkpoint, meta, network, prefix, str(path))
    require_weights(_floating(found), str(path))
    return found


def huggingface_layout(state_dict: Mapping[str, Tensor]) -> ModuleType | None:
    """Returns the layout of the Hugging Face model that has tensors of these names, or None."""
    if huggingface_clip.MARKER in state_dict:
        return huggingface_clip
    if huggingface_vit.MARKER not in state_dict:
        return None
    for layout in (huggingface_dinov2, huggingface_dinov3):
        if layout.MARKER in state_dict:
            return layout
    return huggingface_vit


def _renamed(
    source: dict[str, Tensor], unused: tuple[str, ...], meta: Mapping[str, Any]
) -> tuple[dict[str, Tensor], str, dict[str, Any] | None]:
    """Returns tensors in mmdino's names, whose names they had, and the config in the file."""
    layout = huggingface_layout(source)
    if layout is not None:
        about = json_dict(meta["huggingface"]) if "huggingface" in meta else None
        found = layout.to_mmdino(source)
        stored = released_options(found) if about is None else layout.backbone_config(about)
        if about is None and layout is huggingface_dinov3:
            stored = layout.backbone_config({"model_type": layout.TYPE})
            del stored["arch"], stored["img_size"]
        return found, "huggingface", stored
    stored = config_in_meta(meta)
    if clip.MARKER in source:
        found = clip.to_mmdino(source)
        return found, "clip", {**released_options(found), **(stored or {})}
    if not authors_vit.has_names(source):
        return source, "mmdino", stored
    if beit.has_tables(source):
        found, project, assumed = beit.to_mmdino(source), "timm", {}
    elif timm_vit.is_timm(source):
        if not (stored or {}).get("position_encoding"):
            timm_vit.require_known_positions(source)
        found, project = timm_vit.to_mmdino(source), "timm"
        assumed = {"position_encoding": {"type": ROTARY}} if timm_vit.is_rotary(source) else {}
    else:
        found, project, assumed = authors_vit.to_mmdino(source), "authors", {}
    if FINAL_NORM not in found and POOLED_NORM in unused:
        assumed["final_norm"] = False
    return found, project, {**released_options(found), **assumed, **(stored or {})}


def _with_gelu(
    stored: dict[str, Any] | None,
    found: Mapping[str, Tensor],
    project: str,
    beside: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    given: str | None,
) -> tuple[dict[str, Any] | None, str]:
    """Returns the stored config with the GELU of a CLIP, and the source of it."""
    if given not in (None, clip.EXACT, clip.QUICK):
        raise ValueError(f"invalid gelu={given!r}: expected 'exact' or 'quick'.")
    in_file = "huggingface" in meta or "ffn" in (config_in_meta(meta) or {})
    if PRE_NORM not in found or project == "mmdino" or in_file:
        if given is not None:
            raise ValueError(
                f"gelu={given!r} was given, but the file says its GELU, or is no CLIP. Omit it."
            )
        return stored, ""
    kind, source = clip.assumed_gelu(beside) if given is None else (given, "as given")
    return {**(stored or {}), "ffn": QUICK_GELU if kind == clip.QUICK else "mlp"}, source


def _completed(state_dict: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Adds the periods of rotary positions, and sets a bias to 0 where it does not act."""
    rotary = config.get("position_encoding")
    if not config.get("key_bias", True):
        state_dict = without_key_bias(state_dict)
    if rotary is None or rotary["type"] != ROTARY or BLOCK_PERIODS in state_dict:
        return state_dict
    return {PERIODS: rotary_periods(rotary["head_dims"], rotary["base"]), **state_dict}


def load_backbone(
    path: str | Path, network: Network = "teacher", num_heads: int | None = None
) -> nn.Module:
    """Builds and loads the backbone that :func:`backbone_weights` finds, for inference.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no backbone is found, or its tensors do not match.
    """
    weights = backbone_weights(path, network, num_heads=num_heads)
    return build_backbone(weights.config, weights.state_dict, f"{path} ({weights.layout})")


def build_backbone(
    config: Mapping[str, Any], state_dict: Mapping[str, Tensor], source: str = "The file"
) -> nn.Module:
    """Builds a backbone and loads its tensors, which must match.

    Args:
        config: Config of the backbone.
        state_dict: Tensors in mmpretrain's names.
        source: Name of the file in an error message.

    Returns:
        The backbone in eval mode, without gradients. Its ``config`` is what it was built from.

    Raises:
        ValueError: If a tensor is missing, unexpected or of another shape.
    """
    backbone = _build(config)
    match = compare(state_dict, backbone.state_dict())
    if not match.complete or match.unexpected:
        raise ValueError(f"{source} does not match the inferred {config['type']}: {match}.")
    # Not strict, since the names were compared: Swin drops its indices, which it computes itself.
    backbone.load_state_dict(dict(state_dict), strict=False)
    return _frozen(backbone)


def _build(config: Mapping[str, Any]) -> nn.Module:
    backbone = MODELS.build(copy.deepcopy(dict(config)))
    backbone.config = dict(config)
    return backbone


def untrained_like(backbone: nn.Module, seed: int = 0) -> nn.Module:
    """Returns a randomly initialised network of the same architecture.

    Args:
        backbone: A backbone, not modified. One that was not built here must draw all of its
            weights in ``reset_parameters`` and ``init_weights``, as ViTs and ResNets do.
        seed: Seed of the weights.

    Returns:
        The new network in eval mode, without gradients, on the same device. Its weights are drawn
        on the CPU, so that they do not depend on the device.

    Raises:
        ValueError: If its ``init_cfg`` loads a file.
    """
    init_cfg = getattr(backbone, "init_cfg", None) or ()
    entries = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    if any(entry["type"] == "Pretrained" for entry in entries):
        raise ValueError(
            f"This {type(backbone).__name__} has an init_cfg of type Pretrained, so it has no "
            "random initialisation. Build it without, or with load_backbone."
        )
    device = next(backbone.parameters()).device
    config = getattr(backbone, "config", None)
    logger = MMLogger.get_current_instance()
    level = logger.level
    # mmengine logs every tensor that it initialises.
    logger.setLevel(logging.WARNING)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            # Some classes draw numbers when they are built that no later call does.
            fresh = copy.deepcopy(backbone).cpu() if config is None else _build(config)
            torch.default_generator.manual_seed(seed)
            for module in fresh.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
                if hasattr(module, "is_init"):
                    module.is_init = False
            fresh.init_weights()
    finally:
        logger.setLevel(level)
    return _frozen(fresh.to(device))


def _frozen(backbone: nn.Module) -> nn.Module:
    # Two statements: the eval() of mmpretrain's backbones returns None.
    backbone.eval()
    return backbone.requires_grad_(False)


def _find_backbone(
    checkpoint: Mapping[str, Any],
    meta: Mapping[str, Any],
    network: Network,
    prefix: str | None,
    path: str,
) -> tuple[dict[str, Tensor], str, str]:
    """Returns the tensors of the backbone, their network, and the kind of file."""
    if isinstance(checkpoint.get(network), Mapping):
        if prefix is None:
            tensors = _without_wrapper(state_dict_of(checkpoint[network], path))
            if swin.has_names(tensors):
                return tensors, network, "the full file of EsViT"
            return _require_prefix(tensors, "backbone.", path), network, AUTHORS_FULL
        tensors = {
            f"{which}.{name}": tensor
            for which in ("student", "teacher")
            if isinstance(checkpoint.get(which), Mapping)
            for name, tensor in _without_wrapper(state_dict_of(checkpoint[which], path)).items()
        }
        which = "student" if prefix.startswith("student.") else "teacher"
        return _require_prefix(tensors, prefix, path), which, AUTHORS_FULL
    inner = next(
        (
            checkpoint[key]
            for key in ("state_dict", "model")
            if isinstance(checkpoint.get(key), dict)
        ),
        checkpoint,
    )
    # Beside bare tensors there may be the epoch and the like.
    tensors = _without_wrapper(state_dict_of(inner, path, strict=inner is not checkpoint))
    has_teacher = any(name.startswith("teacher.backbone.") for name in tensors)
    if prefix is not None:
        others = "student" if has_teacher else "backbone"
        which = "teacher" if prefix.startswith("teacher.") else others
        return _require_prefix(tensors, prefix, path), which, f"below {prefix!r}"
    if has_teacher:
        start = "teacher.backbone." if network == "teacher" else "backbone."
        if network == "student" and any(name.startswith("student.backbone.") for name in tensors):
            start = "student.backbone."
        return _require_prefix(tensors, start, path), network, "a checkpoint of mmdino"
    only = str(meta.get("network", "backbone"))
    if network == "student" and only != "student":
        raise ValueError(
            f"{path} has only {'the teacher' if only == 'teacher' else 'one backbone'}, no "
            "student. Use the checkpoint of the training run."
        )
    origin = "a backbone file"
    while any(name.startswith("backbone.") for name in tensors):
        tensors, origin = strip_prefix(tensors, "backbone."), "a checkpoint with one backbone"
    for start, marker, kind in WHOLE:
        within = strip_prefix(tensors, start)
        if any(marker.fullmatch(name) for name in within):
            tensors = clip.tower(tensors) if start == clip.TOWER else within
            return tensors, only, kind
    return tensors, only, origin


def _without_wrapper(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Removes the prefixes of wrappers, of which there may be several."""
    found = dict(tensors)
    wrapped = bool(found)
    while wrapped:
        wrapped = False
        for start in WRAPPERS:
            if all(name.startswith(start) for name in found):
                found, wrapped = strip_prefix(found, start), True
    return found


def _require_prefix(tensors: Mapping[str, Tensor], prefix: str, path: str) -> dict[str, Tensor]:
    found = strip_prefix(tensors, prefix)
    if not found:
        starts = sorted({name.split(".")[0] + "." for name in tensors if "." in name})
        raise ValueError(
            f"No tensor of {path} begins with {prefix!r}; prefixes are {', '.join(starts[:12])}. "
            "Set one of them, or none to detect the teacher's backbone."
        )
    return found
