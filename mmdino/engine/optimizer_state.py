"""The state of an optimiser in a checkpoint: its tensors, and whether they fit a run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from torch import Tensor, is_tensor
from torch.optim import Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
"""Tensors that optimisers keep for a parameter, in its shape."""


def optimizer_tensors(state: Any) -> dict[str, Tensor]:
    """Returns the tensors in the saved state of an optimiser, or of several, by name."""
    if not isinstance(state, Mapping):
        return {}
    optimizers = [state] if "state" in state else state.values()
    return {
        f"optimizer.state.{key}.{name}": value
        for optimizer in optimizers
        if isinstance(optimizer, Mapping) and isinstance(optimizer.get("state"), Mapping)
        for key, entry in optimizer["state"].items()
        if isinstance(entry, Mapping)
        for name, value in entry.items()
        if is_tensor(value)
    }


def optimizer_mismatch(saved: Mapping[str, Any], optimizer: Optimizer) -> str | None:
    """Returns why a saved state does not fit the parameters of an optimiser, or None.

    torch compares the number of parameters only, and crashes on moments of another shape.
    """
    groups, state = saved.get("param_groups"), saved.get("state")
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        return "it has no param_groups or no state"
    keys = [list(group.get("params", [])) for group in groups]
    if any(isinstance(key, str) for group in keys for key in group):
        return None  # of a sharded run, which has its own check
    own = [group["params"] for group in optimizer.param_groups]
    then, now = [len(group) for group in keys], [len(group) for group in own]
    if then != now:
        return (
            f"it has {sum(then)} parameters in {len(then)} groups, the run {sum(now)} in {len(now)}"
        )
    for key, parameter in zip(chain(*keys), chain(*own), strict=True):
        for name in MOMENTS:
            moment = state.get(key, {}).get(name)
            if is_tensor(moment) and moment.shape != parameter.shape:
                return (
                    f"{name} of parameter {key} has the shape {tuple(moment.shape)}, the parameter "
                    f"{tuple(parameter.shape)}"
                )
    return None


def lacks_moments(saved: Mapping[str, Any], optimizer: Optimizer) -> bool:
    """Returns whether a saved state is empty, although the optimiser keeps moments.

    So it is also where float16 has skipped all steps.
    """
    keeps_moments = any(optimizer.defaults.get(name) for name in ("betas", "momentum"))
    return keeps_moments and not saved.get("state")
