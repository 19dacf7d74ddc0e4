"""Loading mmengine's checkpoints under torch's restricted unpickler."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_checkpoint_classes() -> None:
    """Allows the classes that mmengine puts into its checkpoints, and no others.

    torch 2.6 and later load tensors only unless told otherwise. mmengine's message hub stores NumPy
    scalars and arrays in ``HistoryBuffer`` objects, without which a run cannot resume.
    """
    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    torch.serialization.add_safe_globals(
        [HistoryBuffer, reconstruct, scalar, np.ndarray, np.dtype, *dtypes]
    )
