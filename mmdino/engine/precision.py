"""Which type autocast computes in."""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.device import get_device

from mmdino_cli.processor import bfloat16_instructions, cpu_info

AUTOCAST_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Type that autocast computes in for each precision; None for no autocast."""


def autocast_dtype(precision: str, device_type: str) -> torch.dtype | None:
    """Returns the type that autocast computes in on a kind of device; None for no autocast.

    Args:
        precision: "float32", "bfloat16", "float16", or "auto": bfloat16 where the device computes
            with it, else float16 on a GPU and float32 on a processor or an Apple GPU.
        device_type: Such as "cuda".

    Raises:
        ValueError: If the precision is unknown.
    """
    if precision == "auto":
        precision = _native_precision(device_type)
    if precision not in AUTOCAST_DTYPES:
        raise ValueError(
            f"StepOptimWrapper got precision={precision!r}; it must be one of "
            f"{[*AUTOCAST_DTYPES, 'auto']}."
        )
    return AUTOCAST_DTYPES[precision]


def _native_precision(device_type: str) -> str:
    # Emulated, bfloat16 is slower than float32: on GPUs before Ampere, and on a processor without
    # instructions for it about 5 times (docs/performance.md).
    if device_type == "cuda" and not torch.cuda.is_bf16_supported(False):
        return "float16"
    if device_type == "cpu" and not bfloat16_instructions(cpu_info()):
        return "float32"
    # mmengine's autocast does not know Apple's GPUs.
    if device_type == "mps":
        return "float32"
    return "bfloat16"


def validates_under_autocast(fp16: bool | Literal["auto"]) -> bool:
    """Returns whether a validation loop computes features under autocast on this device.

    Args:
        fp16: The value of ``val_cfg.fp16``. "auto": if training with ``precision="auto"`` does.

    Raises:
        ValueError: If it is neither a bool nor "auto".
    """
    if fp16 == "auto":
        return autocast_dtype("auto", get_device()) is not None
    if not isinstance(fp16, bool):
        raise ValueError(f"val_cfg.fp16={fp16!r} is not usable: expected True, False or 'auto'.")
    return fp16
