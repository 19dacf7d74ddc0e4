"""How much of a large temporary matrix is computed at a time."""

from __future__ import annotations

import torch

ACCELERATED_NUMBERS = 2**26
"""On an accelerator: 256 MiB in float32, which take longer to compute than to ask for."""


def numbers_at_once(device: torch.device, cached: int) -> int:
    """Returns how many numbers of a temporary matrix to compute at a time.

    A block should stay in a CPU's cache until it is used again. On an accelerator so small a block
    would be done before the host has launched the next kernel.

    Args:
        device: Where they are computed.
        cached: How many a CPU takes.
    """
    return cached if device.type == "cpu" else ACCELERATED_NUMBERS
