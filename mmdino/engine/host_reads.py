"""Reading values of a device without making the host wait for what the device has yet to do.

``tensor.item()`` waits until all work that was given to the device is done. A training that does so
in each step gives the device its next work only then, so that the device stands still meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def waits(value: Tensor | float) -> bool:
    """Returns whether reading a value makes the host wait: whether it is on another device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


class HostCopy:
    """Numbers on their way from the device to the host.

    Made in one step and read in the next, they cost no wait: the device has the next step to do
    already. Devices other than CUDA's are read when the numbers are asked for.

    Args:
        values: Tensors of one element each, on one device; on the host also numbers.
    """

    def __init__(self, values: Sequence[Tensor | float]) -> None:
        self._numbers: list[float] | None = None
        self._copied: torch.cuda.Event | None = None
        if not waits(values[0]):
            self._numbers = [v.item() if isinstance(v, Tensor) else v for v in values]
            return
        # A copy, so that what is written to the tensors later does not show.
        self._values = torch.cat([value.detach().reshape(1) for value in values])
        if self._values.is_cuda:
            on_device = self._values
            # Only a copy to pinned memory runs by itself.
            self._values = torch.empty_like(on_device, device="cpu", pin_memory=True)
            self._values.copy_(on_device, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(on_device.device))

    def read(self) -> list[float]:
        """Returns the numbers, in the order of the tensors."""
        if self._copied is not None:
            self._copied.synchronize()
        if self._numbers is None:
            self._numbers = self._values.tolist()
        return self._numbers
