"""The authors' full files: student and teacher with their heads, and the centres.

DINO's have ``student`` and ``teacher``, with ``head.``; training files of DINOv2 and DINOv3 have
``teacher`` alone, or both in ``model``, with ``dino_head.`` and perhaps ``ibot_head.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.renaming import add_prefix, rename, strip_prefix

UNUSED = ("backbone.fc.", "backbone.head.")
"""Unused classifiers of the authors' networks."""
HEADS_OF_DINOV2 = {"head.": "dino_head.", "patch_head.": "ibot_head."}
"""Heads of ``mmdino.DINOv2``, and their names in the authors' files."""
CENTERS = {"dino_loss.center": "dino_loss", "ibot_loss.center": "ibot_patch_loss"}
"""Centres of ``mmdino.DINOv2``, and the losses that have them in the authors' files."""


def authors_networks(checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Tensor]] | None:
    """Returns ``student`` and ``teacher`` of a full file, in the authors' names.

    Args:
        checkpoint: The file's dict.

    Returns:
        The tensors of each, without the prefix ``module.`` and unused classifiers. In a training
        file of DINOv2 with the teacher alone, which is a mean of the student's weights, that is
        the student too. None if the dict is not a full file.
    """
    whole = checkpoint.get("model")
    if isinstance(whole, Mapping):
        whole = {name: tensor for name, tensor in whole.items() if isinstance(name, str)}
        checkpoint = {name: strip_prefix(whole, f"{name}.") for name in ("student", "teacher")}
    student, teacher = checkpoint.get("student"), checkpoint.get("teacher")
    if not isinstance(teacher, Mapping):
        return None
    if student is None and has_dinov2_heads(teacher):
        student = teacher
    if not isinstance(student, Mapping) or (whole is not None and not (student and teacher)):
        return None
    return {"student": _unwrapped(student), "teacher": _unwrapped(teacher)}


def dino_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Returns the state dict of ``mmdino.DINO`` or ``mmdino.DINOv2`` in an authors' full file.

    Args:
        checkpoint: The file's dict.

    Returns:
        The tensors in mmdino's names, with the centre if the file has one. A centre that a training
        file of DINOv2 lacks is 0, as at the start of training: with Sinkhorn-Knopp there is none.
        None if the dict is not a full file.
    """
    networks = authors_networks(checkpoint)
    if networks is None:
        return None
    student, teacher = (_network_to_mmdino(networks[name]) for name in ("student", "teacher"))
    state = student | add_prefix(teacher, "teacher.")
    is_dinov2 = has_dinov2_heads(networks["teacher"])
    whole = checkpoint.get("model")
    for name, loss in CENTERS.items():
        place = checkpoint.get(loss)
        if isinstance(whole, Mapping):
            center = whole.get(f"{loss}.center")
        else:
            center = place.get("center") if isinstance(place, Mapping) else None
        if is_dinov2:
            state[name] = _center(name, state) if center is None else center.flatten()[None]
        elif center is not None:
            state[name] = center
    return state


def authors_checkpoint(
    state_dict: Mapping[str, Tensor], epoch: int | None = None
) -> dict[str, Any]:
    """Returns the dict of an authors' full file, without optimiser state.

    The authors' scripts can evaluate it, or continue training with a new optimiser. That of DINOv2
    has the student and the centres beside the teacher.

    Args:
        state_dict: State dict of ``mmdino.DINO`` or ``mmdino.DINOv2``.
        epoch: Completed epochs, if known.
    """
    is_dinov2 = is_dinov2_state(state_dict)
    heads = tuple(HEADS_OF_DINOV2) if is_dinov2 else ("head.",)
    student = {
        name: tensor
        for name, tensor in state_dict.items()
        if name.startswith(("backbone.", *heads))
    }
    networks = {
        "student": _network_from_mmdino(student),
        "teacher": _network_from_mmdino(strip_prefix(state_dict, "teacher.")),
    }
    checkpoint: dict[str, Any]
    if is_dinov2:
        rules = [(name.replace(".", r"\."), theirs) for name, theirs in HEADS_OF_DINOV2.items()]
        checkpoint = {name: rename(network, rules) for name, network in networks.items()}
        for name, loss in CENTERS.items():
            if name in state_dict:
                checkpoint[loss] = {"center": state_dict[name]}
    else:
        teacher = networks["teacher"]
        # The authors wrap the student in DDP, and the teacher only if it has batch norms.
        if any(name.endswith("running_mean") for name in teacher):
            teacher = add_prefix(teacher, "module.")
        checkpoint = {
            "student": add_prefix(networks["student"], "module."),
            "teacher": teacher,
            "dino_loss": strip_prefix(state_dict, "dino_loss."),
        }
    return checkpoint if epoch is None else {**checkpoint, "epoch": epoch}


def has_dinov2_heads(network: Mapping[str, Any]) -> bool:
    """Returns whether a network of the authors has the heads of DINOv2."""
    heads = tuple(HEADS_OF_DINOV2.values())
    return any(str(name).removeprefix("module.").startswith(heads) for name in network)


def is_dinov2_state(state_dict: Mapping[str, Tensor]) -> bool:
    """Returns whether a state dict is that of ``mmdino.DINOv2``, by what ``mmdino.DINO`` lacks."""
    return any(name.startswith(("patch_head.", "ibot_loss.")) for name in state_dict)


def _center(name: str, state_dict: Mapping[str, Tensor]) -> Tensor:
    """The centre (1, K) of an untrained loss."""
    heads = ("patch_head.", "head.") if name.startswith("ibot") else ("head.",)
    for head in heads:
        for layer in ("last_layer.weight_v", "last_layer.weight"):
            if f"teacher.{head}{layer}" in state_dict:
                rows = state_dict[f"teacher.{head}{layer}"]
                return rows.new_zeros(1, len(rows))
    raise ValueError(
        "The teacher has a head without last_layer.weight_v or last_layer.weight. The file is "
        "damaged."
    )


def _unwrapped(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix("module."): tensor
        for name, tensor in network.items()
        if not name.removeprefix("module.").startswith(UNUSED)
    }


def _network_to_mmdino(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts one network with its heads."""
    backbone = strip_prefix(tensors, "backbone.")
    if authors_vit.has_names(backbone):
        backbone = authors_vit.to_mmdino(backbone)
    rules = [(theirs.replace(".", r"\."), name) for name, theirs in HEADS_OF_DINOV2.items()]
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}
    return add_prefix(backbone, "backbone.") | rename(rest, rules)


def _network_from_mmdino(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    backbone = authors_vit.from_mmdino(strip_prefix(network, "backbone."))
    rest = {name: tensor for name, tensor in network.items() if not name.startswith("backbone.")}
    return add_prefix(backbone, "backbone.") | rest
