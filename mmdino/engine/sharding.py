"""A model whose parameters are spread over the ranks (PyTorch's FSDP)."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast_object_list
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim import Optimizer

from mmdino.models import SelfSupervisedModel


def sharding_units(model: SelfSupervisedModel) -> set[nn.Module]:
    """Returns the modules whose parameters are gathered and freed together.

    Each block of a backbone, the rest of the backbone, and each other part are a unit, of the
    student and of the teacher alike. So the two are cut at the same places, and the teacher's
    update, which goes element by element, works on each rank's part.
    """
    units: set[nn.Module] = set()
    for network in model.networks():
        units.update(module for module in network.values() if _has_parameters(module))
        for module in network["backbone"].children():
            if isinstance(module, nn.ModuleList):
                units.update(block for block in module if _has_parameters(block))
    return units


def filled_optimizer_state(optimizer: Optimizer) -> dict:
    """Returns an optimiser's state with zeros where a parameter has not been stepped yet.

    PyTorch saves the state of complete units only, and the prototypes have none while they are
    frozen. Adam's moments and count are zero at a parameter's first step, so this is the state that
    the step would start from.

    Args:
        optimizer: The optimiser of a rank's part of the parameters.
    """
    state_dict = optimizer.state_dict()
    stepped = next(iter(optimizer.state.items()), None)
    if stepped is None:
        return state_dict
    like, entries = stepped
    state = dict(state_dict["state"])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        # Of some parameters this rank holds nothing, and neither does it of their state.
        if index not in state and parameter.numel():
            state[index] = {
                name: torch.zeros_like(parameter if entry.shape == like.shape else entry)
                for name, entry in entries.items()
            }
    return {**state_dict, "state": state}


def _has_parameters(module: nn.Module | None) -> bool:
    return module is not None and any(True for _ in module.parameters())


def state_shapes(model: nn.Module) -> dict[str, torch.Size]:
    """Returns the unsharded shapes of a model's state.

    The names are those without a wrapper. All ranks must call this together.

    Args:
        model: The model of a run, wrapped for several ranks or not.
    """
    if not isinstance(model, FullyShardedDataParallel):
        model = model.module if is_model_wrapper(model) else model
        return _shapes(model.state_dict())
    on_rank_0 = StateDictOptions(full_state_dict=True, cpu_offload=True)
    shared = [_shapes(get_model_state_dict(model, options=on_rank_0))]
    broadcast_object_list(shared)
    return shared[0]


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}
