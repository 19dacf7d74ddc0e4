"""A model whose parameters are spread over the ranks (PyTorch's FSDP)."""

from __future__ import annotations

import torch
from mmengine.dist import broadcast_object_list
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel

from mmdino.models import DINO


def sharding_units(model: DINO) -> set[nn.Module]:
    """Returns the modules whose parameters are gathered and freed together.

    Each block of a backbone, the rest of the backbone, the head's last layer and the rest of the
    head are a unit, of the student and of the teacher alike. So the two are cut at the same places,
    and the teacher's update, which goes element by element, works on each rank's part. The last
    layer stands alone because it has no optimiser state while it is frozen, and PyTorch saves the
    state of whole units.
    """
    networks = [
        {"backbone": model.backbone, "neck": model.neck, "head": model.head},
        dict(model.teacher.items()),
    ]
    units: set[nn.Module] = set()
    for network in networks:
        units.update(module for module in network.values() if _has_parameters(module))
        units.add(network["head"].last_layer)
        for module in network["backbone"].children():
            if isinstance(module, nn.ModuleList):
                units.update(block for block in module if _has_parameters(block))
    return units


def _has_parameters(module: nn.Module | None) -> bool:
    return module is not None and any(True for _ in module.parameters())


def state_shapes(model: nn.Module) -> dict[str, torch.Size]:
    """Returns the shapes of a model's state, whole also where the model is sharded.

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
