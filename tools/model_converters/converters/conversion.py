"""Conversion of weights from the names of one project to those of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from mmengine.registry import MODELS
from torch import Tensor

from converters.formats import SUFFIXES
from converters.head_config import head_config
from mmdino.weights.checks import require_weights, state_dict_of
from mmdino.weights.files import read_checkpoint, write_bytes, write_pickle, write_tensors
from mmdino.weights.layouts import (
    authors_vit,
    huggingface_dinov2,
    huggingface_dinov3,
    huggingface_vit,
    timm_vit,
)
from mmdino.weights.layouts.authors_full import (
    authors_checkpoint,
    dino_state_dict,
    is_dinov2_state,
)
from mmdino.weights.layouts.renaming import strip_prefix
from mmdino.weights.matching import Match, compare
from mmdino.weights.networks import BackboneWeights, describe
from mmdino.weights.specs import (
    QUICK_GELU,
    RELATIVE,
    RESNET,
    config_in_meta,
    is_gated,
    resnet_config,
    vit_config,
)

OWN_OPTIONS = {"final_norm": True, "pre_norm": False}
"""Options of this project's ViT for which the other projects' networks allow only this value."""


class FullWeights(NamedTuple):
    """Student and teacher with their heads, and the centres."""

    state_dict: dict[str, Tensor]
    """State dict of ``mmdino.DINO`` or ``mmdino.DINOv2``."""
    config: dict[str, Any]
    """Config of that model."""
    heads_from: str
    """Source of the number of attention heads, as text; empty for a ResNet."""
    epoch: int | None
    """Number of trained epochs, if the file has it."""
    source: dict[str, Any] | None
    """Content of the file if it has the authors' names, else None."""

    def __str__(self) -> str:
        text = "student and teacher with heads, and the centre, in "
        if self.config["type"] == "mmdino.DINOv2":
            text = "student and teacher of DINOv2 with heads, and the centres, in "
        text += "mmdino's names" if self.source is None else "the authors' names"
        if self.source is not None and not {"student", "model"} & self.source.keys():
            text += " (the file has the teacher alone: the student is a copy, the centres are 0)"
        return f"{text}; {describe(self.config['backbone'], self.heads_from)}"


def match_weights(weights: BackboneWeights | FullWeights) -> Match:
    """Compares the tensors with those of the network that their config builds."""
    return compare(weights.state_dict, _expected(weights.config))


def require_match(
    match: Match,
    allow_missing: bool = False,
    allow_unexpected: bool = False,
    check: bool = False,
) -> None:
    """Checks that the tensors of a file are those that the network expects.

    Args:
        match: Result of :func:`match_weights`.
        allow_missing: Whether expected tensors may be missing.
        allow_unexpected: Whether there may be tensors that the network does not have.
        check: Whether the network will be run, which needs all of its tensors.

    Raises:
        ValueError: If tensors are missing or unexpected without being allowed, or differ in shape.
    """
    refused = []
    if match.different:
        refused.append("A tensor of another shape cannot be converted")
    if match.missing and not allow_missing:
        refused.append(
            "--allow-missing writes the tensors there are; the rest will be random when loaded"
        )
    elif match.missing and check:
        refused.append("--check runs the whole network; leave it out")
    if match.unexpected and not allow_unexpected:
        refused.append(
            "--allow-unexpected drops tensors that DINO's network does not have; if the file's "
            "network uses them, the features will differ"
        )
    if refused:
        raise ValueError(f"Nothing was written: {match}. {'. '.join(refused)}.")


def keep_expected(state_dict: Mapping[str, Tensor], match: Match) -> dict[str, Tensor]:
    """Returns the tensors without those that the network does not have."""
    return {name: tensor for name, tensor in state_dict.items() if name not in match.unexpected}


def convert_backbone(weights: BackboneWeights, project: str) -> dict[str, Tensor]:
    """Converts a backbone's tensors to the names of a project.

    Args:
        weights: Result of :func:`backbone_weights`.
        project: ``"mmdino"``, ``"authors"``, ``"timm"`` or ``"huggingface"``.

    Raises:
        ValueError: If the project has no such network.
    """
    if project not in SUFFIXES:
        raise ValueError(f"Unknown project {project!r}: expected one of {', '.join(SUFFIXES)}.")
    if project == "mmdino":
        return dict(weights.state_dict)
    if weights.kind == "other":
        raise ValueError(
            f"The backbone is a {weights.config['type']}, for which this project has no names of "
            "others. Use the checkpoint in mmdino, or extract the backbone from it."
        )
    if weights.kind == "resnet":
        if project == "huggingface":
            raise ValueError(
                "The backbone is a ResNet, but Hugging Face's ViTModel is a ViT. Convert it to "
                "timm, which has the same ResNet."
            )
        return dict(weights.state_dict)
    _require_options(weights.config, project)
    if project == "huggingface":
        layout = huggingface_layout_for(weights.config)
        # Says what the model cannot have, before anything is written.
        layout.huggingface_config(weights.config)
    else:
        layout = timm_vit if project == "timm" else authors_vit
    return layout.from_mmdino(weights.state_dict)


def _require_options(config: Mapping[str, Any], project: str) -> None:
    """Checks that another project's ViT can be the network of a ViT config.

    Raises:
        ValueError: If it cannot, or if its files cannot say it.
    """
    for name, value in OWN_OPTIONS.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"The backbone has {name}={config[name]!r}, which the other projects' ViTs do not "
                f"support; to be converted it needs {name}={value!r}."
            )
    if project != "huggingface" and config.get("ffn") == QUICK_GELU:
        raise ValueError(
            f"The backbone has ffn={QUICK_GELU!r}, OpenAI's approximation of GELU. No tensor shows "
            f"it, so that a file for {project} would be another network. Convert it to "
            "huggingface, whose config.json says it, or extract it for mmdino."
        )
    encoding = config.get("position_encoding")
    if encoding and encoding["type"] == RELATIVE:
        raise ValueError(
            "The backbone has a table of relative positions, which the other projects' ViTs do not "
            "support. Use it in mmdino, or extract it."
        )
    if encoding and config["learned_positions"]:
        raise ValueError(
            "The backbone has learned positions and rotary positions, of which the other projects' "
            "ViTs have one; to be converted it needs learned_positions=False or no "
            "position_encoding."
        )


def grid_note(config: Mapping[str, Any], project: str) -> str:
    """Returns what a file of a project does not say about a grid of positions, or an empty text.

    The files of the authors and timm have no image size, and readers take positions for those of a
    square.

    Args:
        config: Config of the backbone.
        project: Project whose file is written.
    """
    size = config.get("img_size")
    learned = config.get("learned_positions", True)
    if project not in ("authors", "timm") or not learned or not isinstance(size, list | tuple):
        return ""
    rows, columns = (side // config["patch_size"] for side in size)
    if rows == columns:
        return ""
    readers = {
        "timm": f"Pass img_size={tuple(size)} to timm.",
        "authors": "The authors' code takes them for those of a square.",
    }
    return (
        f"note: the file does not say that its positions are of {rows} x {columns} patches. "
        f"{readers[project]} For mmdino keep the source, which says it."
    )


def huggingface_layout_for(config: Mapping[str, Any]) -> ModuleType:
    """Returns the layout of the Hugging Face model that is the network of a ViT config."""
    if config.get("position_encoding"):
        return huggingface_dinov3
    dinov2 = config.get("layer_scale_init_value") or config.get("num_registers")
    return huggingface_dinov2 if dinov2 or is_gated(config) else huggingface_vit


def write_backbone(
    path: str | Path, project: str, weights: BackboneWeights, tensors: Mapping[str, Tensor]
) -> None:
    """Writes a backbone in the file format of a project.

    Args:
        path: File to write; a folder for Hugging Face.
        project: Project whose names the tensors have.
        weights: Weights that the tensors were converted from.
        tensors: Result of :func:`convert_backbone`.

    Raises:
        ValueError: If the suffix of the path is not one of the project's files.
    """
    check_suffix(path, project)
    if project == "huggingface":
        write_huggingface_folder(path, tensors, weights.config)
    elif project == "mmdino":
        about = {"backbone": json.dumps(weights.config), "network": weights.network}
        write_tensors(path, tensors, about)
    else:
        write_tensors(path, tensors)


def write_huggingface_folder(
    folder: str | Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> None:
    """Writes a folder for ``from_pretrained`` of the model that ``config.json`` names.

    Args:
        folder: Folder to write; it is created.
        tensors: Tensors in Hugging Face's names.
        config: Config of the ``mmdino.VisionTransformer``.
    """
    layout = huggingface_layout_for(config)
    settings = json.dumps(layout.huggingface_config(config), indent=2)
    write_bytes(Path(folder) / "config.json", settings.encode())
    write_tensors(Path(folder) / "model.safetensors", tensors)


def full_weights(path: str | Path, num_heads: int | None = None) -> FullWeights:
    """Reads student, teacher, heads and centre from the authors' full file or mmdino's checkpoint.

    Args:
        path: The file.
        num_heads: Number of attention heads of a ViT, if neither file nor width determines it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it does not hold student and teacher.
    """
    checkpoint = read_checkpoint(path)
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    for name in ("student", "teacher", "state_dict", "model"):
        if isinstance(checkpoint.get(name), Mapping):
            checkpoint[name] = state_dict_of(checkpoint[name], str(path))
    state = dino_state_dict(checkpoint)
    source, epoch = checkpoint, checkpoint.get("epoch")
    if state is None:
        source, state, epoch = None, checkpoint.get("state_dict", {}), meta.get("epoch")
    if not any(name.startswith("teacher.backbone.") for name in state):
        raise ValueError(
            f"{path} holds no student and teacher with heads: expected a checkpoint of a training "
            "run or the authors' full file. Leave out --full to convert only a backbone."
        )
    require_weights(state, str(path))
    backbone = strip_prefix(state, "backbone.")
    if "layer1.0.conv1.weight" in backbone:
        config, heads_from = resnet_config(backbone), ""
    else:
        config, heads_from = vit_config(backbone, config_in_meta(meta), num_heads)
    model = {
        "type": "mmdino.DINO",
        "backbone": config,
        "head": head_config(strip_prefix(state, "head.")),
    }
    if is_dinov2_state(state):
        model |= {"type": "mmdino.DINOv2", "backbone": {**config, "out_type": "features"}}
        patch_head = strip_prefix(state, "patch_head.")
        if patch_head:
            model["patch_head"] = head_config(patch_head)
        if "ibot_loss.center" not in state:
            model["ibot_weight"] = 0
    if config["type"] == RESNET:
        model["neck"] = {"type": "mmpretrain.GlobalAveragePooling"}
    return FullWeights(dict(state), model, heads_from, epoch, source)


def full_checkpoint(weights: FullWeights, project: str) -> dict[str, Any]:
    """Returns the content of a full file in the format of a project.

    Args:
        weights: Result of :func:`full_weights`.
        project: ``"mmdino"``, for ``load_from``, or ``"authors"``.

    Raises:
        ValueError: If the project has no such files, or no such network.
    """
    if project == "authors":
        _require_options(weights.config["backbone"], project)
        return authors_checkpoint(weights.state_dict, weights.epoch)
    if project == "mmdino":
        about = {"backbone": json.dumps(weights.config["backbone"])}
        return {"state_dict": weights.state_dict, "meta": about}
    raise ValueError(
        f"Only mmdino and the authors have full files, with heads and centre; {project!r} takes a "
        "backbone. Leave out --full."
    )


def write_full(path: str | Path, checkpoint: Mapping[str, Any]) -> None:
    """Writes a full file.

    Raises:
        ValueError: If the suffix is not ``.pth``: safetensors cannot hold nested dicts.
    """
    check_suffix(path, "authors")
    write_pickle(path, checkpoint)


def check_target(path: str | Path, project: str, source: str | Path) -> None:
    """Checks that a path to write to has a suffix of the project and is not the source.

    Args:
        path: Path to write to.
        project: Project whose format will be written.
        source: Path to read from.

    Raises:
        ValueError: If it is the source or has another suffix.
    """
    check_suffix(path, project)
    if Path(path).exists() and Path(source).exists() and Path(path).samefile(source):
        raise ValueError(f"{path} is the source too; give another path to write to.")


def check_suffix(path: str | Path, project: str) -> None:
    """Checks that the suffix of a path is one of the project's files.

    Raises:
        ValueError: If it is not.
    """
    suffixes = SUFFIXES[project]
    if Path(path).suffix not in suffixes:
        kind = "a folder" if suffixes == ("",) else f"a file ending in {' or '.join(suffixes)}"
        raise ValueError(f"Cannot write to {path}: expected {kind}.")


def _expected(config: Mapping[str, Any]) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        return MODELS.build(dict(config)).state_dict()
