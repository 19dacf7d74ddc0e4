"""Mixed precision for :class:`StepOptimWrapper`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdino.engine.optimizers.step_optim_wrapper import StepOptimWrapper
from mmdino.registry import OPTIM_WRAPPERS

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@OPTIM_WRAPPERS.register_module()
class DINOAmpOptimWrapper(StepOptimWrapper):
    """Trains under autocast, with loss scaling where float16 needs it.

    mmengine's ``AmpOptimWrapper`` runs on accelerators only and does not say when the scaler
    skipped a step, in which teacher and centre must stay; hence this one. It runs on CPUs too.

    Args:
        dtype: "bfloat16", which needs no loss scaling, or "float16". None takes bfloat16 where the
            device computes with it, else float16.
        loss_scale: For float16: "dynamic", a fixed number, or the arguments of
            ``torch.amp.GradScaler``.
        **kwargs: Arguments of :class:`StepOptimWrapper`.

    Raises:
        ValueError: If the type or the loss scale is unknown.

    Example:
        >>> optim_wrapper = dict(type="mmdino.DINOAmpOptimWrapper", dtype="float16")
    """

    def __init__(
        self,
        dtype: str | None = None,
        loss_scale: str | float | dict = "dynamic",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.device_type = _device_type(self.optimizer)
        self.dtype = _resolve_dtype(dtype, self.device_type)
        self.fixed_scale = float(loss_scale) if isinstance(loss_scale, (int, float)) else None
        self.loss_scaler = torch.amp.GradScaler(
            self.device_type,
            enabled=self.dtype is torch.float16,
            **_scaler_arguments(loss_scale),
        )
        print_log(f"Mixed precision: {self.dtype} on {self.device_type}.", logger="current")

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Runs the backward pass of the scaled loss."""
        super().backward(self.loss_scaler.scale(loss), **kwargs)

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
        """Loads what :meth:`state_dict` returned; a state without a scaler is accepted."""
        state_dict = dict(state_dict)
        scaler_state = state_dict.pop("loss_scaler", None)
        if scaler_state and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scaler_state)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocasts, and keeps gradients local until the accumulation is complete."""
        with super().optim_context(model), torch.autocast(self.device_type, dtype=self.dtype):
            yield


def _device_type(optimizer: Optimizer) -> str:
    return optimizer.param_groups[0]["params"][0].device.type


def _resolve_dtype(name: str | None, device_type: str) -> torch.dtype:
    if name is None:
        computes_bfloat16 = device_type != "cuda" or torch.cuda.is_bf16_supported()
        return torch.bfloat16 if computes_bfloat16 else torch.float16
    if name not in DTYPES:
        raise ValueError(f"DINOAmpOptimWrapper got dtype={name!r}; it must be one of {[*DTYPES]}.")
    return DTYPES[name]


def _scaler_arguments(loss_scale: str | float | dict) -> dict[str, Any]:
    if isinstance(loss_scale, dict):
        return dict(loss_scale)
    if loss_scale == "dynamic":
        return {}
    if isinstance(loss_scale, (int, float)) and loss_scale > 0:
        return {"init_scale": float(loss_scale)}
    raise ValueError(
        f"DINOAmpOptimWrapper got loss_scale={loss_scale!r}; it must be 'dynamic', a number above "
        "0, or a dict with the arguments of torch.amp.GradScaler."
    )
