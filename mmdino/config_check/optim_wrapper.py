"""Checks of the section that says how a model is optimised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

from mmdino.config_check.arguments import Argument, arguments_of
from mmdino.config_check.components import Walk
from mmdino.config_check.places import Place, is_of_project
from mmdino.config_check.problems import join
from mmdino.config_check.registries import describe
from mmdino.config_check.source import keys_read
from mmdino.config_check.spelling import near_misses
from mmdino.engine.optimizers import StepOptimWrapper

DEFAULT_CONSTRUCTOR = "DefaultOptimWrapperConstructor"


def check_optim_wrapper(walk: Walk, value: Any, path: str) -> None:
    """Checks the optimiser, its wrapper and its constructor."""
    if not isinstance(value, Mapping):
        walk.component(value, path, Place(OPTIM_WRAPPERS))
        return
    several = {key: part for key, part in value.items() if _has_optimizer(part)}
    if "optimizer" not in value and several:
        for key, part in several.items():
            check_optim_wrapper(walk, part, join(path, key))
        return
    # Constructors of other projects may choose an optimiser themselves.
    constructor = value.get("constructor", DEFAULT_CONSTRUCTOR)
    own = constructor == DEFAULT_CONSTRUCTOR or str(constructor).startswith("mmdino.")
    if "optimizer" not in value and own and not near_misses("optimizer", value):
        walk.problems.add(path, "it needs an optimizer, such as dict(type='AdamW', lr=0.0005)")
    place = Place(
        OPTIM_WRAPPERS,
        given={"optimizer"},
        extra={"constructor", "paramwise_cfg", "optimizer"},
        default=OptimWrapper,
    )
    rest = {key: part for key, part in value.items() if key not in ("optimizer", "paramwise_cfg")}
    wrapper = walk.component(rest, path, place)
    given = value.get("optimizer")
    if isinstance(given, (list, tuple)):
        walk.problems.add(join(path, "optimizer"), f"got {given!r}; expected a dict with a type")
    elif isinstance(given, Mapping) and "params" in given:
        walk.problems.add(join(path, "optimizer.params"), "it is that of the model; leave it out")
    elif "optimizer" in value:
        optimizer = Place(OPTIMIZERS, given={"params"}, is_whole=False)
        walk.component(value["optimizer"], join(path, "optimizer"), optimizer)
    clipping = value.get("clip_grad")
    if isinstance(clipping, Mapping):
        _check_clipping(walk, clipping, join(path, "clip_grad"), wrapper)
    elif clipping is not None:
        walk.problems.add(
            join(path, "clip_grad"),
            f"got {clipping!r}; expected a dict, such as dict(max_norm=3.0)",
        )
    if isinstance(value.get("loss_scale"), Mapping):
        known = arguments_of(torch.amp.GradScaler).known
        walk.keys(value["loss_scale"], join(path, "loss_scale"), "GradScaler", known)
    constructor = walk.look_up(
        constructor, join(path, "constructor"), OPTIM_WRAPPER_CONSTRUCTORS, value
    )
    if constructor is not None and isinstance(value.get("paramwise_cfg"), Mapping):
        _check_paramwise(walk, value["paramwise_cfg"], join(path, "paramwise_cfg"), constructor)


def _has_optimizer(value: Any) -> bool:
    return isinstance(value, Mapping) and "optimizer" in value


def _check_clipping(walk: Walk, value: Mapping, path: str, wrapper: Any) -> None:
    # Of a wrapper that is not known nothing is.
    clips_each = wrapper is None or (
        isinstance(wrapper, type) and issubclass(wrapper, StepOptimWrapper)
    )
    norm, clip_value = torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_
    known = {
        "norm": {*arguments_of(norm).known} - {"parameters"},
        "value": {*arguments_of(clip_value).known} - {"parameters"},
    }
    if clips_each:
        known |= {kind: {"max_norm"} for kind in ("per_network", "per_tensor")}
    kind = value.get("type", "norm")
    if kind not in known:
        more = "" if clips_each else " (others are of mmdino.StepOptimWrapper)"
        walk.problems.add(
            join(path, "type"), f"got {kind!r}; expected one of {', '.join(sorted(known))}{more}"
        )
        return
    walk.keys(value, path, f"clip_grad of type {kind!r}", {"type", *known[kind]})
    for key, member in value.items():
        walk.value(member, join(path, key), Argument())


def _check_paramwise(walk: Walk, value: Mapping, path: str, constructor: Any) -> None:
    known = keys_read(constructor, "paramwise_cfg")
    if not known:
        return
    # A constructor of one's own may read others in a way that its source does not show.
    is_strict = is_of_project(constructor)
    judged = [key for key in value if is_strict or near_misses(str(key), known)]
    walk.keys({key: value[key] for key in judged}, path, describe(constructor), known)
