"""The authors' full checkpoint: student and teacher with their heads, and the centre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.renaming import add_prefix, strip_prefix

UNUSED = ("backbone.fc.", "backbone.head.")
"""Unused classifiers of the authors' networks."""


def dino_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Returns the state dict of ``mmdino.DINO`` in an authors' full checkpoint.

    Args:
        checkpoint: The file's dict, with ``student``, ``teacher`` and optionally ``dino_loss``.

    Returns:
        The tensors in mmdino's names, with the centre if the file has one; None if the dict is not
        a full checkpoint.
    """
    networks = [checkpoint.get(name) for name in ("student", "teacher")]
    if not all(isinstance(network, Mapping) for network in networks):
        return None
    student, teacher = map(_network_to_mmdino, networks)
    state = student | add_prefix(teacher, "teacher.")
    loss = checkpoint.get("dino_loss")
    if isinstance(loss, Mapping) and "center" in loss:
        state["dino_loss.center"] = loss["center"]
    return state


def authors_checkpoint(
    state_dict: Mapping[str, Tensor], epoch: int | None = None
) -> dict[str, Any]:
    """Returns the dict of an authors' full checkpoint, without optimiser state.

    The authors' scripts can evaluate it, or continue training with a new optimiser.

    Args:
        state_dict: State dict of ``mmdino.DINO``.
        epoch: Completed epochs, if known.
    """
    student = {
        name: tensor
        for name, tensor in state_dict.items()
        if name.startswith(("backbone.", "head."))
    }
    teacher = _network_from_mmdino(strip_prefix(state_dict, "teacher."))
    # The authors wrap the student in DDP, and the teacher only if it has batch norms.
    if any(name.endswith("running_mean") for name in teacher):
        teacher = add_prefix(teacher, "module.")
    checkpoint: dict[str, Any] = {
        "student": add_prefix(_network_from_mmdino(student), "module."),
        "teacher": teacher,
        "dino_loss": strip_prefix(state_dict, "dino_loss."),
    }
    return checkpoint if epoch is None else {**checkpoint, "epoch": epoch}


def _network_to_mmdino(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Converts one network with its head, without the prefix ``module.``."""
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in network.items()
        if not name.removeprefix("module.").startswith(UNUSED)
    }
    backbone = strip_prefix(tensors, "backbone.")
    if authors_vit.has_names(backbone):
        backbone = authors_vit.to_mmdino(backbone)
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}
    return add_prefix(backbone, "backbone.") | rest


def _network_from_mmdino(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    backbone = authors_vit.from_mmdino(strip_prefix(network, "backbone."))
    rest = {name: tensor for name, tensor in network.items() if not name.startswith("backbone.")}
    return add_prefix(backbone, "backbone.") | rest
