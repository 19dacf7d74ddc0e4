"""mmengine's optimiser wrapper with per-tensor clipping and mixed precision on any device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.optim import Optimizer

from mmdino.engine.deferred_history import log_scalar
from mmdino.engine.host_reads import HostCopy
from mmdino.engine.optimizers.gradients import clip_each_tensor_, clip_together_, joint_norm
from mmdino.engine.precision import autocast_dtype
from mmdino.registry import OPTIM_WRAPPERS
from mmdino.utils.numbers import require_number

KERNEL_OPTIONS = ("fused", "foreach")
"""Options of torch's optimisers that change how they compute, not what."""
CLIPPING = ("norm", "per_network", "per_tensor", "value")
"""Kinds of clipping: mmengine's two, "norm" and "value", and our own."""


@OPTIM_WRAPPERS.register_module()
class StepOptimWrapper(OptimWrapper):
    """``OptimWrapper`` that can clip each tensor separately and tells whether it took a step.

    It trains in mixed precision too. mmengine's ``AmpOptimWrapper`` needs an accelerator and does
    not tell that its scaler skipped a step, after which teacher and centre must not move.

    Args:
        optimizer: The optimiser.
        accumulative_counts: Micro-batches in an optimiser step.
        clip_grad: As in mmengine, or ``dict(type="per_tensor", max_norm=3.0)`` to bound the norm of
            each gradient separately (3.0 in DINO's implementation), or ``type="per_network"`` to
            bound that over all gradients of each part of the model, such as backbone and head
            (DINOv2); the latter needs ``DecayGroupsConstructor``. The norm over all gradients
            before clipping is logged as ``grad_norm``, the number of tensors clipped as
            ``clipped_tensors``.
        precision: "float32" computes without autocast, "bfloat16" and "float16" under autocast,
            float16 with loss scaling. "auto" is bfloat16 where the device computes with it, else
            float16 on a GPU and float32 on a processor. The weights keep their own type.
        loss_scale: For float16: "dynamic", a fixed number, or the arguments of
            ``torch.amp.GradScaler``.

    Attributes:
        dtype: Type that autocast computes in; None where there is none.
        epoch_length: Micro-batches in an epoch, where an accumulation ends with the epoch;
            ``ResumableTrainLoop`` sets it. None lets it continue into the next, as in mmengine.
        shard_group: Ranks that each hold a part of every parameter; ``StudentTeacherFSDPStrategy``
            sets it.
        step_taken: Whether the last micro-batch made the optimiser move the weights.

    Raises:
        ValueError: If the per-tensor norm is missing or not positive, or the precision or the loss
            scale is unknown.

    Example:
        >>> optim_wrapper = dict(
        ...     type="mmdino.StepOptimWrapper",
        ...     optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.04),
        ...     clip_grad=dict(type="per_tensor", max_norm=3.0),
        ...     precision="auto")
    """

    def __init__(
        self,
        optimizer: Optimizer,
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
        precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        loss_scale: str | float | dict = "dynamic",
    ) -> None:
        require_number(
            "StepOptimWrapper", "accumulative_counts", accumulative_counts, least=1, whole=True
        )
        self.step_taken = False
        self._epoch_length: int | None = None
        self.shard_group: ProcessGroup | None = None
        self.per_tensor_norm: float | None = None
        self.per_network_norm: float | None = None
        kind = (clip_grad or {}).get("type", "norm")
        if kind not in CLIPPING:
            raise ValueError(
                f"StepOptimWrapper got clip_grad.type={kind!r}; it must be one of "
                f"{', '.join(CLIPPING)}."
            )
        if kind in ("per_tensor", "per_network"):
            setattr(self, f"{kind}_norm", _own_max_norm(clip_grad))
            if kind == "per_network" and not all("network" in g for g in optimizer.param_groups):
                raise ValueError(
                    "clip_grad.type='per_network' needs to know the part of the model that each "
                    "parameter belongs to. Set optim_wrapper.constructor='mmdino."
                    "DecayGroupsConstructor'."
                )
            clip_grad = None
        super().__init__(optimizer, accumulative_counts, clip_grad)
        # mmengine keeps an unscaled copy of the settings to log with groups of several rates.
        # The copy would miss the scaling of the rates to the batch.
        self.base_param_settings = None
        # A step counts once the optimiser has run; a gradient scaler may keep it from running.
        self._overflow: HostCopy | None = None
        optimizer.register_step_pre_hook(self._ask_for_overflow)
        optimizer.register_step_post_hook(self._note_step)
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        self.device_type = next(parameters).device.type
        self.dtype = autocast_dtype(precision, self.device_type)
        self.fixed_scale = float(loss_scale) if isinstance(loss_scale, (int, float)) else None
        # A scaler that is not enabled does nothing.
        self.loss_scaler = torch.amp.GradScaler(
            self.device_type,
            enabled=self.dtype is torch.float16,
            **_scaler_arguments(loss_scale),
        )
        if self.dtype is not None:
            print_log(f"Mixed precision: {self.dtype} on {self.device_type}.", logger="current")
        elif precision == "auto":
            print_log(
                "Float32, not mixed precision: this processor has no instructions for bfloat16.",
                logger="current",
            )

    @property
    def epoch_length(self) -> int | None:
        """Micro-batches in an epoch, where an accumulation ends with the epoch.

        Raises:
            ValueError: On setting, if a step would need more micro-batches than an epoch has.
        """
        return self._epoch_length

    @epoch_length.setter
    def epoch_length(self, length: int | None) -> None:
        if length is not None and length < self._accumulative_counts:
            raise ValueError(
                f"optim_wrapper.accumulative_counts={self._accumulative_counts} is more than the "
                f"{length} micro-batch(es) of an epoch, and a step ends with its epoch: the rate "
                f"would be that of a batch that no step has. It must be at most {length}."
            )
        self._epoch_length = length

    @property
    def scales_loss(self) -> bool:
        """Whether gradients may overflow, in which case the step is skipped."""
        return self.loss_scaler.is_enabled()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocasts as configured, and keeps gradients local until the accumulation is complete."""
        if self.dtype is None:
            autocast = nullcontext()
        else:
            autocast = torch.autocast(self.device_type, dtype=self.dtype)
        with super().optim_context(model), autocast:
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Runs the backward pass of the scaled loss."""
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def update_params(self, *args: Any, **kwargs: Any) -> None:
        """Runs the backward pass and, where the accumulation is complete, the step."""
        self.step_taken = False
        super().update_params(*args, **kwargs)

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Sets the number of micro-batches that are done and that of the whole run.

        mmengine's warning of lost gradients, which ignores epochs, is left to the loop.
        """
        self._inner_count = init_counts
        self._max_counts = max_counts
        self._remainder_counts = max_counts % self._accumulative_counts

    def should_update(self) -> bool:
        """Returns whether the micro-batch whose backward pass just ran completes its step."""
        if self.epoch_length is None:
            return super().should_update()
        return self._completes_step(self._inner_count - 1)

    def should_sync(self) -> bool:
        """Returns whether the coming micro-batch completes its step."""
        if self.epoch_length is None:
            return super().should_sync()
        return self._completes_step(self._inner_count)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divides the loss by the number of micro-batches of its step."""
        if self.epoch_length is None:
            return super().scale_loss(loss)
        _, size = self._window(self._inner_count)
        return loss / size

    def is_within_step(self) -> bool:
        """Returns whether gradients are accumulated for a step that has not been taken."""
        if self.epoch_length is None:
            return self._inner_count % self._accumulative_counts != 0
        return self._window(self._inner_count)[0] != 0

    def _completes_step(self, iteration: int) -> bool:
        place, size = self._window(iteration)
        return place == size - 1

    def _window(self, iteration: int) -> tuple[int, int]:
        """Index of a micro-batch within its step, and the number of micro-batches of that step."""
        place = iteration % self.epoch_length
        start = place - place % self._accumulative_counts
        return place - start, min(self._accumulative_counts, self.epoch_length - start)

    def step(self, **kwargs: Any) -> None:
        """Unscales and clips the gradients, and runs the optimiser unless they overflowed."""
        self.loss_scaler.unscale_(self.optimizer)
        self.clip_gradients()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self.fixed_scale)

    def state_dict(self) -> dict:
        """Returns the optimiser's state and, under "loss_scaler", the scaler's."""
        return {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Loads what :meth:`state_dict` returned, but not by which kernel that run computed.

        The state may be that of a run in another precision, with or without a scaler.
        """
        state_dict = dict(state_dict)
        scaler_state = state_dict.pop("loss_scaler", None)
        if scaler_state and self.scales_loss:
            self.loss_scaler.load_state_dict(scaler_state)
        groups = [dict(group) for group in state_dict.get("param_groups", [])]
        for loaded, own in zip(groups, self.optimizer.param_groups, strict=False):
            loaded.update({option: own[option] for option in KERNEL_OPTIONS if option in own})
        super().load_state_dict({**state_dict, "param_groups": groups})

    def clip_gradients(self) -> None:
        """Clips as configured and logs the norm."""
        if self.per_tensor_norm is not None:
            parameters = (p for group in self.optimizer.param_groups for p in group["params"])
            norm, clipped = clip_each_tensor_(parameters, self.per_tensor_norm, self.shard_group)
            log_scalar(self.message_hub, "train/grad_norm", norm)
            log_scalar(self.message_hub, "train/clipped_tensors", clipped)
        elif self.per_network_norm is not None:
            self._clip_networks(self.per_network_norm)
        elif self.clip_grad_kwargs:
            self._clip_grad()

    def _clip_networks(self, max_norm: float) -> None:
        networks: dict[str, list[Tensor]] = {}
        for group in self.optimizer.param_groups:
            networks.setdefault(group["network"], []).extend(group["params"])
        norms = [
            clip_together_(parameters, max_norm, self.shard_group)
            for parameters in networks.values()
        ]
        log_scalar(self.message_hub, "train/grad_norm", joint_norm(norms))

    def _clip_grad(self) -> None:
        parameters = (p for group in self.optimizer.param_groups for p in group["params"])
        parameters = [p for p in parameters if p.requires_grad and p.grad is not None]
        # The kind "value" returns no norm.
        norm = self.clip_func(parameters, **self.clip_grad_kwargs) if parameters else None
        if norm is not None:
            log_scalar(self.message_hub, f"train/{self.grad_name}", norm)

    def _ask_for_overflow(self, optimizer: Optimizer, *_: Any) -> None:
        # Only a fused optimiser is given what the scaler has found; where that is an overflow, it
        # runs all the same and does nothing.
        overflow = getattr(optimizer, "found_inf", None)
        self._overflow = None if overflow is None else HostCopy([overflow])

    def _note_step(self, *_: Any) -> None:
        # Here the host may wait for the backward pass; the device has the optimiser's work to do.
        self.step_taken = self._overflow is None or not self._overflow.read()[0]


def _scaler_arguments(loss_scale: str | float | dict) -> dict[str, Any]:
    if isinstance(loss_scale, dict):
        return dict(loss_scale)
    if loss_scale == "dynamic":
        return {}
    if isinstance(loss_scale, (int, float)) and 0 < loss_scale < math.inf:
        return {"init_scale": float(loss_scale)}
    raise ValueError(
        f"StepOptimWrapper got loss_scale={loss_scale!r}; it must be 'dynamic', a finite number "
        "above 0, or a dict with the arguments of torch.amp.GradScaler."
    )


def _own_max_norm(clip_grad: dict) -> float:
    unknown = set(clip_grad) - {"type", "max_norm"}
    max_norm = clip_grad.get("max_norm")
    if unknown or not isinstance(max_norm, (int, float)) or not 0 < max_norm < math.inf:
        raise ValueError(
            f"clip_grad={clip_grad} is not usable: with type={clip_grad.get('type')!r} it takes "
            "max_norm, a finite number above 0, and nothing else."
        )
    return float(max_norm)
