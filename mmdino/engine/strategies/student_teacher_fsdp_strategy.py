"""mmengine's FSDP strategy for a student and its teacher."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.optim import BaseOptimWrapper
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from mmdino.engine.optimizers import StepOptimWrapper
from mmdino.engine.sharding import filled_optimizer_state, sharding_units
from mmdino.registry import STRATEGIES

SHARDING = "FULL_SHARD"


@STRATEGIES.register_module()
class StudentTeacherFSDPStrategy(FSDPStrategy):
    """Spreads parameters, gradients and optimiser state of student and teacher over the ranks.

    mmengine's ``FSDPStrategy``, for its ``FlexibleRunner``, with student and teacher cut at the
    same places, parameter groups by unsharded shapes, and per-tensor clipping by the norms of
    unsharded gradients. Checkpoints are unsharded and have the names of any other run's, so that
    every tool reads them and a run without sharding loads their weights.

    Args:
        model_wrapper: Arguments of ``MMFullyShardedDataParallel``, such as ``limit_all_gathers``.
            ``sharding_strategy`` is "FULL_SHARD".
        **kwargs: Arguments of mmengine's ``FSDPStrategy``, but not ``state_dict_cfg``.

    Raises:
        ValueError: If ``model_wrapper`` has an argument that does not work with a teacher, the run
            has one process only, the model is compiled, or the optimiser wrapper cannot work on
            parts of gradients.
        TypeError: If the model or the optimiser wrapper is not of this project.

    Example:
        >>> runner_type = "FlexibleRunner"
        >>> strategy = dict(type="mmdino.StudentTeacherFSDPStrategy")
    """

    def __init__(self, *, model_wrapper: dict | None = None, **kwargs: Any) -> None:
        model_wrapper = dict(model_wrapper or {})
        _refuse_unusable(model_wrapper)
        super().__init__(model_wrapper=model_wrapper, state_dict_cfg="full", **kwargs)
        if get_device() == "cpu":
            # "Offloading" from CPU to CPU copies nothing, and torch then gives all entries of the
            # optimiser's state one storage: exp_avg would be saved with exp_avg_sq's values.
            self.optim_state_dict_config.offload_to_cpu = False

    def _wrap_model(self, model: nn.Module) -> FullyShardedDataParallel:
        if not is_distributed():
            raise ValueError(
                "StudentTeacherFSDPStrategy shards over several processes, but the run has one. "
                "Start it with tools/dist_train.sh CONFIG GPUS or tools/slurm_train.sh, or leave "
                "out runner_type and strategy."
            )
        if not hasattr(model, "networks"):
            raise TypeError(
                "StudentTeacherFSDPStrategy shards the networks of a method of mmdino, but the run "
                f"has a {type(model).__name__}. Use strategy=dict(type='FSDPStrategy')."
            )
        if model.is_compiled:
            raise ValueError(
                "StudentTeacherFSDPStrategy got a model with model.compile, which has not been "
                "tried with shards. Leave out model.compile."
            )
        policy = partial(lambda_auto_wrap_policy, lambda_fn=sharding_units(model).__contains__)
        # mmengine names the accelerator of the local rank, also where there is none.
        device = {"device_id": torch.device("cpu")} if get_device() == "cpu" else {}
        self.model_wrapper = {**device, **self.model_wrapper, "auto_wrap_policy": policy}
        wrapped = super()._wrap_model(model)
        _normalise_before_forward(wrapped)
        return wrapped

    def build_optim_wrapper(
        self, optim_wrapper: dict | BaseOptimWrapper, model: nn.Module | None = None
    ) -> StepOptimWrapper:
        """Builds the optimiser wrapper for the sharded model."""
        # The constructor goes by shapes, and a shard has no more than one dimension. The parameters
        # stay the same objects when they are sharded again.
        with FullyShardedDataParallel.summon_full_params(model, writeback=False):
            built = super().build_optim_wrapper(optim_wrapper, model)
        _refuse_partial_gradients(built)
        built.shard_group = model.process_group
        return built

    def optim_state_dict(self) -> dict:
        """Returns the unsharded optimiser state, by names, on rank 0; an empty dict elsewhere."""
        optimizer = self.optim_wrapper.optimizer
        return FullyShardedDataParallel.optim_state_dict(
            self.model, optimizer, filled_optimizer_state(optimizer)
        )

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Loads each rank's part of what :meth:`optim_state_dict` returned."""
        # mmengine 0.10 passes the arguments in the order of torch 2.0, which fails.
        optimizer = self.optim_wrapper.optimizer
        part = FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict)
        self.optim_wrapper.load_state_dict(part)


def _normalise_before_forward(wrapped: FullyShardedDataParallel) -> None:
    """Sets prototypes of losses to unit length before each forward pass in train mode.

    Within the pass they are views of gathered parameters, and a change does not reach the shards.
    """
    losses = [loss for loss in wrapped.modules() if hasattr(loss, "normalise_prototypes")]
    if not losses:
        return
    for loss in losses:
        loss.normalises_itself = False

    def normalise(model: FullyShardedDataParallel, *_: Any) -> None:
        if model.training:
            # The loss is no unit of its own: its parameters are the outermost wrapper's.
            with FullyShardedDataParallel.summon_full_params(model, recurse=False):
                for loss in losses:
                    loss.normalise_prototypes()

    wrapped.register_forward_pre_hook(normalise)


def _refuse_unusable(model_wrapper: dict) -> None:
    sharding = model_wrapper.get("sharding_strategy") or SHARDING
    if getattr(sharding, "name", sharding) != SHARDING:
        raise ValueError(
            f"StudentTeacherFSDPStrategy got sharding_strategy={sharding!r}; it takes "
            f"{SHARDING!r} alone. SHARD_GRAD_OP leaves the teacher gathered after its "
            "forward pass, where its update would not reach it, and HYBRID_SHARD has not been "
            "tried. To shard nothing, leave out runner_type and strategy."
        )
    for name, reason in {
        "auto_wrap_policy": "it cuts student and teacher at the same places itself",
        "use_orig_params": "weight decay and clipping need the parameters one by one",
    }.items():
        if name in model_wrapper:
            raise ValueError(f"StudentTeacherFSDPStrategy takes no model_wrapper.{name}: {reason}.")


def _refuse_partial_gradients(optim_wrapper: BaseOptimWrapper) -> None:
    if not isinstance(optim_wrapper, StepOptimWrapper):
        raise TypeError(
            f"The optim_wrapper is a {type(optim_wrapper).__name__}, which would treat a rank's "
            "shard of a gradient as the gradient. Use optim_wrapper = "
            "dict(type='mmdino.StepOptimWrapper', ...)."
        )
    if optim_wrapper.clip_grad_kwargs:
        raise ValueError(
            f"clip_grad={optim_wrapper.clip_grad_kwargs} would clip by the norm of one rank's part "
            "of the gradients. Use clip_grad=dict(type='per_tensor', max_norm=3.0)."
        )
    if optim_wrapper.scales_loss:
        raise ValueError(
            "float16 with sharded gradients would have each rank decide alone whether to skip "
            "a step. Use optim_wrapper.precision='bfloat16', which needs no loss scaling."
        )
