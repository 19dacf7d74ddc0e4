"""Loading of mmengine's checkpoints with torch's restricted unpickler."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer
from torch import serialization

NUMPY_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The module of NumPy's functions before and since its version 2."""

_lock = threading.Lock()


@contextmanager
def checkpoint_classes_allowed() -> Iterator[None]:
    """Allows the classes in mmengine's and the authors' checkpoints, and nothing else.

    By default torch's restricted unpickler allows only tensors and plain values. To resume,
    mmengine needs the NumPy scalars and arrays in its ``HistoryBuffer`` objects, which refer to
    their own methods through ``getattr``; that is allowed for this class only. The authors' files
    contain their command line as an ``argparse.Namespace``. What other code allowed is not allowed
    meanwhile, and is allowed again afterwards.
    """
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = {
        type(np.dtype(kind)) for kind in np.typecodes["All"] if np.dtype(kind).kind in "biufc"
    }
    allowed = [
        argparse.Namespace,
        HistoryBuffer,
        bytes,
        np.ndarray,
        np.dtype,
        *dtypes,
        _named(history_buffer_method, "builtins.getattr"),
        *(_named(reconstruct, f"{core}._reconstruct") for core in NUMPY_CORES),
        *(_named(scalar, f"{core}.scalar") for core in NUMPY_CORES),
    ]
    with _lock:
        others = list(serialization.get_safe_globals())
        serialization.clear_safe_globals()
        serialization.add_safe_globals(allowed)
        try:
            yield
        finally:
            serialization.clear_safe_globals()
            serialization.add_safe_globals(others)


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


def _named(function: Callable, path: str) -> Callable:
    """Returns a function that torch finds under another name; before 2.6 it takes no pairs."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, _, call.__qualname__ = path.rpartition(".")
    call.__name__ = call.__qualname__
    return call
