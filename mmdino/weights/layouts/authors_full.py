"""The authors' full file: student and teacher with their heads, and the centre of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.renaming import below, put_below

UNUSED = ("backbone.fc.", "backbone.head.")
"""Classifiers that the authors' networks carry and do not use."""


def dino_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Returns the state dict of ``mmdino.DINO`` that the authors' full file holds.

    Args:
        checkpoint: The file's dict, with ``student``, ``teacher`` and ``dino_loss``.

    Returns:
        The tensors in mmdino's names, the centre among them if the file has one; None if the dict
        is not a full file.
    """
    networks = [checkpoint.get(name) for name in ("student", "teacher")]
    if not all(isinstance(network, Mapping) for network in networks):
        return None
    student, teacher = map(_network_to_mmdino, networks)
    state = student | put_below(teacher, "teacher.")
    loss = checkpoint.get("dino_loss")
    if isinstance(loss, Mapping) and "center" in loss:
        state["dino_loss.center"] = loss["center"]
    return state


def authors_checkpoint(
    state_dict: Mapping[str, Tensor], epoch: int | None = None
) -> dict[str, Any]:
    """Returns the dict of an authors' full file.

    There is no optimiser state in it: the authors' scripts evaluate such a file, and train on from
    it with a fresh optimiser.

    Args:
        state_dict: State dict of ``mmdino.DINO``.
        epoch: Epochs that were trained, if known.
    """
    student = {
        name: tensor
        for name, tensor in state_dict.items()
        if name.startswith(("backbone.", "head."))
    }
    teacher = _network_from_mmdino(below(state_dict, "teacher."))
    # The authors wrap the student for several GPUs, and the teacher only where batch norms need it.
    if any(name.endswith("running_mean") for name in teacher):
        teacher = put_below(teacher, "module.")
    checkpoint: dict[str, Any] = {
        "student": put_below(_network_from_mmdino(student), "module."),
        "teacher": teacher,
        "dino_loss": below(state_dict, "dino_loss."),
    }
    return checkpoint if epoch is None else {**checkpoint, "epoch": epoch}


def _network_to_mmdino(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One network with its head; ``module.`` before its names is dropped."""
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in network.items()
        if not name.removeprefix("module.").startswith(UNUSED)
    }
    backbone = below(tensors, "backbone.")
    if authors_vit.MARK in backbone:
        backbone = authors_vit.to_mmdino(backbone)
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}
    return put_below(backbone, "backbone.") | rest


def _network_from_mmdino(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    backbone = authors_vit.from_mmdino(below(network, "backbone."))
    rest = {name: tensor for name, tensor in network.items() if not name.startswith("backbone.")}
    return put_below(backbone, "backbone.") | rest
