"""Loading mmengine's checkpoints under torch's restricted unpickler."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_checkpoint_classes() -> None:
    """Allows what mmengine and the authors' code put into their checkpoints, and nothing else.

    torch 2.6 and later load tensors only unless told otherwise. mmengine's message hub stores NumPy
    scalars and arrays in ``HistoryBuffer`` objects, without which a run cannot resume, and those
    name their own methods through ``getattr``, which is allowed for that class alone. The authors'
    files hold their command line as a namespace, which ``load_from`` meets.
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
    """Returns a public method of ``HistoryBuffer``; stands in for ``getattr`` in checkpoints.

    Raises:
        ValueError: If a checkpoint asks for anything else.
    """
    if owner is not HistoryBuffer or name.startswith("_"):
        raise ValueError(
            f"The checkpoint asks for the attribute {name!r} of {owner!r}, which mmengine's "
            "checkpoints do not. It is damaged or made to run foreign code; do not load it."
        )
    return getattr(HistoryBuffer, name)
