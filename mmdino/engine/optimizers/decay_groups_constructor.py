"""Few parameter groups, and a learning rate that follows accumulation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim import Optimizer

from mmdino.engine.optimizers.layer_decay_constructor import layer_depths
from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmdino.utils.numbers import require_number

FUSED = (torch.optim.Adam, torch.optim.AdamW)
"""Optimisers built with their fused kernel on ``FUSED_DEVICES``, in versions that have one.

Not SGD: its fused kernel cannot start the momentum of one parameter later than that of the others,
which is what happens to the last layer when its freeze ends.
"""
FUSED_DEVICES = ("cpu", "cuda")
PARAMWISE = (
    "one_dim_lr_mult",
    "constant_lr",
    "layer_decay",
    "patch_embed_lr_mult",
    "batch_rule",
    "not_decayed",
)
BATCH_RULES = ("linear", "sqrt")


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
        paramwise_cfg: Optional:

            * ``one_dim_lr_mult``: factor of the rate of biases and one-dimensional parameters
              (0.024 in Barlow Twins);
            * ``constant_lr``: names of modules whose rate no schedule changes (``["predictor"]`` in
              SimSiam);
            * ``layer_decay``: factor d of the rate from each layer of the backbone to the one
              before, d^(L - l) for layer l of L; the head has 1 (0.9 in DINOv2's short recipe);
            * ``patch_embed_lr_mult``: another factor for the patch embedding (0.2 in DINOv2);
            * ``not_decayed``: names of parameters, or their last parts, that are not decayed
              either (``["cls_token", "pos_embed"]`` in feature distillation);
            * ``batch_rule``: "linear", or "sqrt" for a rate that follows the root of the batch over
              that of ``auto_scale_lr`` (DINOv2), which ``WarmupCosineLR`` sees to.

    Raises:
        TypeError: If ``paramwise_cfg`` is no dict, or ``constant_lr`` or ``not_decayed`` no list of
            names.
        ValueError: If ``paramwise_cfg`` has another key, or no optimiser is configured, or no rate
            that the factor is of; from the call, if a name in ``constant_lr`` is no module with
            trainable parameters, or one in ``not_decayed`` no trainable parameter.

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
        self.layer_decay = paramwise_cfg.get("layer_decay", 1.0)
        self.patch_embed_lr_mult = paramwise_cfg.get("patch_embed_lr_mult", 1.0)
        for name in ("layer_decay", "patch_embed_lr_mult"):
            value = getattr(self, name)
            require_number(
                "DecayGroupsConstructor", f"paramwise_cfg.{name}", value, above=0, most=1
            )
        self.batch_rule = paramwise_cfg.get("batch_rule", "linear")
        if self.batch_rule not in BATCH_RULES:
            raise ValueError(
                f"DecayGroupsConstructor got paramwise_cfg.batch_rule={self.batch_rule!r}; it must "
                f"be one of {BATCH_RULES}."
            )
        self.constant_lr = _names(
            "constant_lr", paramwise_cfg.get("constant_lr", ()), "modules, such as ['predictor']"
        )
        self.not_decayed = _names(
            "not_decayed", paramwise_cfg.get("not_decayed", ()), "parameters, such as ['cls_token']"
        )
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
        # Networks and layers go by the names of parameters, to which a wrapper adds a part; a
        # sharded model has the names of the bare one while its parameters are gathered.
        if is_model_wrapper(model) and not isinstance(model, FullyShardedDataParallel):
            model = model.module
        clip_grad = self.wrapper_cfg.get("clip_grad") or {}
        groups = parameter_groups(
            model,
            self.constant_lr,
            self._lr_mult(model),
            clip_grad.get("type") == "per_network",
            self.not_decayed,
        )
        optimizer_cfg = dict(self.optimizer_cfg, params=groups)
        if "lr" in optimizer_cfg:
            base = optimizer_cfg["lr"]
            optimizer_cfg["lr"] = base * self.wrapper_cfg.get("accumulative_counts", 1)
            for group in groups:
                if "lr_mult" in group:
                    group["lr"] = group["lr_mult"] * optimizer_cfg["lr"]
                if self.batch_rule == "sqrt":
                    group["lr_of_base_batch"] = group.get("lr_mult", 1.0) * base
        if _has_fused_kernel(optimizer_cfg):
            optimizer_cfg["fused"] = True
        optimizer = OPTIMIZERS.build(optimizer_cfg)
        if self.constant_lr:
            optimizer.register_step_pre_hook(hold_constant_rates)
        return OPTIM_WRAPPERS.build(dict(self.wrapper_cfg), default_args={"optimizer": optimizer})

    def _lr_mult(self, model: nn.Module) -> Callable[[str, bool], float]:
        """Returns what maps the name of a parameter, and whether it is decayed, to its factor."""
        layer_of = layer_depths(model) if self.layer_decay != 1 else None

        def factor(name: str, decayed: bool) -> float:
            value = 1.0 if decayed else self.one_dim_lr_mult
            if layer_of is not None:
                layer, num_layers = layer_of(name)
                value *= self.layer_decay ** (num_layers - 1 - layer)
            if name.startswith("backbone.patch_embed."):
                value *= self.patch_embed_lr_mult
            return value

        return factor


def _names(key: str, value: object, what: str) -> tuple[str, ...]:
    """Returns the names that an entry of ``paramwise_cfg`` lists."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) and n for n in names):
        raise TypeError(
            f"DecayGroupsConstructor got paramwise_cfg.{key}={value!r}; it must be a list of names "
            f"of {what}."
        )
    return tuple(names)


def _has_fused_kernel(cfg: dict) -> bool:
    """Whether an optimiser has a fused kernel for its parameters that its config leaves open."""
    optimizer = OPTIMIZERS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]
    if optimizer not in FUSED or "fused" not in inspect.signature(optimizer).parameters:
        return False
    if {"fused", "foreach", "capturable", "differentiable"} & set(cfg):
        return False
    parameters = [parameter for group in cfg["params"] for parameter in group["params"]]
    return all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in parameters)


def parameter_groups(
    model: nn.Module,
    constant_lr: Sequence[str] = (),
    lr_mult: Callable[[str, bool], float] = lambda name, decayed: 1.0,
    by_network: bool = False,
    not_decayed: Sequence[str] = (),
) -> list[dict]:
    """Splits the trainable parameters into those with and those without weight decay.

    Args:
        model: The model.
        constant_lr: Names of modules whose rate stays as it is; they get groups of their own.
        lr_mult: Maps the name of a parameter, and whether it is decayed, to the factor of its rate.
        by_network: Whether the parts of the model, such as backbone and head, get groups of their
            own.
        not_decayed: Names of parameters, or their last parts, that are not decayed either.

    Returns:
        Groups for an optimiser, those with the highest factor that follow the schedule first. The
        key ``decayed`` tells the weight-decay schedule which of them it moves, also where the decay
        starts at 0; ``lars_exclude`` tells mmpretrain's LARS that the rate of the others does not
        adapt either; ``constant_lr`` tells :func:`hold_constant_rates` whose rate it holds;
        ``lr_mult`` is the factor where it is not 1, ``network`` the part of the model.

    Raises:
        ValueError: If a name is no module with trainable parameters, or no trainable parameter.
    """
    unmatched, unknown = set(constant_lr), set(not_decayed)
    groups: dict[GroupKey, list] = {}
    if not by_network:
        groups = {GroupKey(False, lr_mult("", d), d, ""): [] for d in (True, False)}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        owners = {module for module in constant_lr if name.startswith(f"{module}.")}
        unmatched -= owners
        exempt = {end for end in not_decayed if f".{name}".endswith(f".{end}")}
        unknown -= exempt
        decayed = parameter.ndim > 1 and not name.endswith(".bias") and not exempt
        network = name.partition(".")[0] if by_network else ""
        key = GroupKey(bool(owners), lr_mult(name, decayed), decayed, network)
        groups.setdefault(key, []).append(parameter)
    if unmatched:
        modules = ", ".join(dict(model.named_children()))
        raise ValueError(
            f"optim_wrapper.paramwise_cfg.constant_lr names {', '.join(sorted(unmatched))}, which "
            f"has no trainable parameters in a {type(model).__name__}. Its modules are {modules}."
        )
    if unknown:
        raise ValueError(
            f"optim_wrapper.paramwise_cfg.not_decayed names {', '.join(sorted(unknown))}, which no "
            f"trainable parameter of a {type(model).__name__} ends with. Leave out what the "
            "network does not have."
        )
    order = sorted(groups, key=lambda key: (key.constant, -key.lr_mult, not key.decayed))
    return [{"params": groups[key], **key.options} for key in order]


class GroupKey(NamedTuple):
    """What the parameters of a group have in common."""

    constant: bool
    lr_mult: float
    decayed: bool
    network: str

    @property
    def options(self) -> dict[str, Any]:
        """Options of the group."""
        options: dict[str, Any] = {"decayed": self.decayed}
        if not self.decayed:
            options |= {"weight_decay": 0.0, "lars_exclude": True}
        if self.constant:
            options["constant_lr"] = True
        if self.lr_mult != 1:
            options["lr_mult"] = self.lr_mult
        if self.network:
            options["network"] = self.network
        return options


def hold_constant_rates(optimizer: Optimizer, *_: Any) -> None:
    """Undoes, before a step, what schedules did to rates that are to stay constant.

    mmengine's schedulers and ours note the rate of the config as ``initial_lr``.
    """
    for group in optimizer.param_groups:
        if group.get("constant_lr"):
            group["lr"] = group.get("initial_lr", group["lr"])
