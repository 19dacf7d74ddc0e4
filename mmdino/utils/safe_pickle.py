"""Loading of mmengine's checkpoints with torch's restricted unpickler."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_checkpoint_classes() -> None:
    """Allows the classes in mmengine's and the authors' checkpoints, and nothing else.

    By default torch 2.6 and later load only tensors and plain values. To resume, mmengine needs the
    NumPy scalars and arrays in its ``HistoryBuffer`` objects, which refer to their own methods
    through ``getattr``; that is allowed for this class only. The authors' files contain their
    command line as an ``argparse.Namespace``.
    """
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            HistoryBuffer,
            reconstruct,
            scalar,
            np.ndarray,
            np.dtype,
            *dtypes,
            (history_buffer_method, "builtins.getattr"),
        ]
    )


def history_buffer_method(owner: type, name: str) -> Callable:
    """Returns a public method of ``HistoryBuffer``; replaces ``getattr`` in checkpoints.

    Raises:
        ValueError: If a checkpoint requests anything else.
    """
    if owner is not HistoryBuffer or name.startswith("_"):
        raise ValueError(
            f"The checkpoint requests the attribute {name!r} of {owner!r}, which mmengine's "
            "checkpoints never do. It is corrupted or malicious; do not load it."
        )
    return getattr(HistoryBuffer, name)
