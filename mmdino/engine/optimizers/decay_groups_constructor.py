"""Few parameter groups, and a learning rate that follows accumulation."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.optim import Optimizer

from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmdino.utils.numbers import require_number

FUSED = (torch.optim.Adam, torch.optim.AdamW)
"""Optimisers built with their fused kernel on ``FUSED_DEVICES``, in versions that have one.

Not SGD: its fused kernel cannot start the momentum of one parameter later than that of the others,
which is what happens to the last layer when its freeze ends.
"""
FUSED_DEVICES = ("cpu", "cuda")
PARAMWISE = ("one_dim_lr_mult", "constant_lr")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroupsConstructor:
    """Builds the optimiser with few groups: parameters with and without weight decay.

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
        paramwise_cfg: Optional: ``one_dim_lr_mult``, a factor of the rate of biases and
            one-dimensional parameters (0.024 in Barlow Twins); ``constant_lr``, names of modules
            whose rate no schedule changes (``["predictor"]`` in SimSiam).

    Raises:
        TypeError: If ``paramwise_cfg`` is no dict, or ``constant_lr`` no list of names.
        ValueError: If ``paramwise_cfg`` has another key, or no optimiser is configured, or no rate
            that the factor is of; from the call, if a name in ``constant_lr`` is no module with
            trainable parameters.

    Example:
        >>> optim_wrapper = dict(
        ...     type="mmdino.StepOptimWrapper",
        ...     constructor="mmdino.DecayGroupsConstructor",
        ...     optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.04))
        >>> auto_scale_lr = dict(enable=True, base_batch_size=256)
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if not isinstance(paramwise_cfg, (dict, type(None))):
            raise TypeError(
                f"DecayGroupsConstructor got paramwise_cfg={paramwise_cfg!r}; it must be a dict "
                f"with some of {', '.join(PARAMWISE)}."
            )
        paramwise_cfg = dict(paramwise_cfg or {})
        if unknown := set(paramwise_cfg) - set(PARAMWISE):
            raise ValueError(
                f"DecayGroupsConstructor got paramwise_cfg={paramwise_cfg}; it knows "
                f"{', '.join(PARAMWISE)}, not {', '.join(sorted(unknown))}. For other rules use "
                "mmengine's constructor: leave out optim_wrapper.constructor."
            )
        self.one_dim_lr_mult = paramwise_cfg.get("one_dim_lr_mult", 1.0)
        require_number(
            "DecayGroupsConstructor", "paramwise_cfg.one_dim_lr_mult", self.one_dim_lr_mult, least=0
        )
        constant = paramwise_cfg.get("constant_lr", ())
        names = [constant] if isinstance(constant, str) else constant
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
            raise TypeError(
                f"DecayGroupsConstructor got paramwise_cfg.constant_lr={constant!r}; it must be a "
                "list of names of modules, such as ['predictor']."
            )
        self.constant_lr = tuple(names)
        if "optimizer" not in optim_wrapper_cfg:
            raise ValueError(
                "optim_wrapper has no 'optimizer'; give one, such as dict(type='AdamW', lr=0.0005)."
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop("optimizer"))
        if self.one_dim_lr_mult != 1 and "lr" not in self.optimizer_cfg:
            raise ValueError(
                "DecayGroupsConstructor got paramwise_cfg.one_dim_lr_mult="
                f"{self.one_dim_lr_mult}, a factor of the rate, but no rate. Set "
                "optim_wrapper.optimizer.lr."
            )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Builds the wrapper for the trainable parameters of ``model``."""
        groups = parameter_groups(model, self.constant_lr)
        optimizer_cfg = dict(self.optimizer_cfg, params=groups)
        accumulative_counts = self.wrapper_cfg.get("accumulative_counts", 1)
        if "lr" in optimizer_cfg:
            optimizer_cfg["lr"] *= accumulative_counts
        if self.one_dim_lr_mult != 1:
            for group in groups:
                if not group["decayed"]:
                    group["lr_mult"] = self.one_dim_lr_mult
                    group["lr"] = self.one_dim_lr_mult * optimizer_cfg["lr"]
        if _has_fused_kernel(optimizer_cfg):
            optimizer_cfg["fused"] = True
        optimizer = OPTIMIZERS.build(optimizer_cfg)
        if self.constant_lr:
            optimizer.register_step_pre_hook(hold_constant_rates)
        return OPTIM_WRAPPERS.build(dict(self.wrapper_cfg), default_args={"optimizer": optimizer})


def _has_fused_kernel(cfg: dict) -> bool:
    """Whether an optimiser has a fused kernel for its parameters that its config leaves open."""
    optimizer = OPTIMIZERS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]
    if optimizer not in FUSED or "fused" not in inspect.signature(optimizer).parameters:
        return False
    if {"fused", "foreach", "capturable", "differentiable"} & set(cfg):
        return False
    parameters = [parameter for group in cfg["params"] for parameter in group["params"]]
    return all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in parameters)


def parameter_groups(model: nn.Module, constant_lr: Sequence[str] = ()) -> list[dict]:
    """Splits the trainable parameters into those with and those without weight decay.

    Args:
        model: The model.
        constant_lr: Names of modules whose rate stays as it is; they get groups of their own.

    Returns:
        Groups for an optimiser, the decayed ones that follow the schedule first. The key
        ``decayed`` tells the weight-decay schedule which of them it moves, also where the decay
        starts at 0; ``lars_exclude`` tells mmpretrain's LARS that the rate of the others does not
        adapt either; ``constant_lr`` tells :func:`hold_constant_rates` whose rate it holds.

    Raises:
        ValueError: If a name is no module with trainable parameters.
    """
    unmatched = set(constant_lr)
    groups: dict[tuple[bool, bool], list] = {(False, True): [], (False, False): []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        owners = {module for module in constant_lr if name.startswith(f"{module}.")}
        unmatched -= owners
        decayed = parameter.ndim > 1 and not name.endswith(".bias")
        groups.setdefault((bool(owners), decayed), []).append(parameter)
    if unmatched:
        modules = ", ".join(dict(model.named_children()))
        raise ValueError(
            f"optim_wrapper.paramwise_cfg.constant_lr names {', '.join(sorted(unmatched))}, which "
            f"has no trainable parameters in a {type(model).__name__}. Its modules are {modules}."
        )
    plain = {"decayed": False, "weight_decay": 0.0, "lars_exclude": True}
    return [
        {
            "params": parameters,
            **({"decayed": True} if decayed else plain),
            **({"constant_lr": True} if constant else {}),
        }
        for (constant, decayed), parameters in groups.items()
    ]


def hold_constant_rates(optimizer: Optimizer, *_: Any) -> None:
    """Undoes, before a step, what schedules did to rates that are to stay constant.

    mmengine's schedulers and ours note the rate of the config as ``initial_lr``.
    """
    for group in optimizer.param_groups:
        if group.get("constant_lr"):
            group["lr"] = group.get("initial_lr", group["lr"])
