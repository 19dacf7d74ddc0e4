"""Two parameter groups, and a learning rate that follows accumulation."""

from __future__ import annotations

import inspect

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS

FUSED = (torch.optim.Adam, torch.optim.AdamW)
"""Optimisers built with their fused kernel on ``FUSED_DEVICES``, in versions that have one.

Not SGD: its fused kernel cannot start the momentum of one parameter later than that of the others,
which is what happens to the last layer when its freeze ends.
"""
FUSED_DEVICES = ("cpu", "cuda")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroupsConstructor:
    """Builds the optimiser with two groups: parameters with and without weight decay.

    Biases and one-dimensional parameters are not decayed. mmengine's own constructor makes a group
    for each parameter, which keeps multi-tensor optimisers from updating many at once.

    The configured ``lr`` is for the batch in ``auto_scale_lr.base_batch_size``. mmengine scales
    it by batch size and ranks; accumulation makes the batch larger too, so this class multiplies
    the rate by ``accumulative_counts``.

    Adam and AdamW are built with their fused kernel, which reads and writes each number once per
    step (a third of the time on a CPU); ``fused=False`` in the optimiser's config builds the other.
    Results differ by rounding.

    Args:
        optim_wrapper_cfg: Config of the wrapper with its ``optimizer``.
        paramwise_cfg: Not supported; must be empty.

    Raises:
        ValueError: If ``paramwise_cfg`` is given or no optimiser is configured.

    Example:
        >>> optim_wrapper = dict(
        ...     type="mmdino.StepOptimWrapper",
        ...     constructor="mmdino.DecayGroupsConstructor",
        ...     optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.04))
        >>> auto_scale_lr = dict(enable=True, base_batch_size=256)
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise ValueError(
                f"DecayGroupsConstructor got paramwise_cfg={paramwise_cfg}. It goes by the "
                "shape of a parameter only; for other rules use mmengine's constructor: leave out "
                "optim_wrapper.constructor."
            )
        if "optimizer" not in optim_wrapper_cfg:
            raise ValueError(
                "optim_wrapper has no 'optimizer'; give one, such as dict(type='AdamW', lr=0.0005)."
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the wrapper for the trainable parameters of ``model``."""
        optimizer_cfg = dict(self.optimizer_cfg, params=parameter_groups(model))
        accumulative_counts = self.wrapper_cfg.get("accumulative_counts", 1)
        if "lr" in optimizer_cfg:
            optimizer_cfg["lr"] *= accumulative_counts
        if _has_fused_kernel(optimizer_cfg):
            optimizer_cfg["fused"] = True
        return OPTIM_WRAPPERS.build(
            dict(self.wrapper_cfg),
            default_args={"optimizer": OPTIMIZERS.build(optimizer_cfg)},
        )


def _has_fused_kernel(cfg: dict) -> bool:
    """Whether an optimiser has a fused kernel for its parameters that its config leaves open."""
    optimizer = OPTIMIZERS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]
    if optimizer not in FUSED or "fused" not in inspect.signature(optimizer).parameters:
        return False
    if {"fused", "foreach", "capturable", "differentiable"} & set(cfg):
        return False
    parameters = [parameter for group in cfg["params"] for parameter in group["params"]]
    return all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in parameters)


def parameter_groups(model: nn.Module) -> list[dict]:
    """Splits the trainable parameters into those with and those without weight decay.

    Returns:
        Two groups for an optimiser. The key ``decayed`` tells the weight-decay schedule which of
        them it moves, also where the decay starts at 0; ``lars_exclude`` tells mmpretrain's LARS
        that the rate of the others does not adapt either.
    """
    groups: dict[bool, list] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[parameter.ndim > 1 and not name.endswith(".bias")].append(parameter)
    return [
        {"params": groups[True], "decayed": True},
        {"params": groups[False], "decayed": False, "weight_decay": 0.0, "lars_exclude": True},
    ]
