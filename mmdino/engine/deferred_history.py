"""The history of a logged value, which is read from the device only when somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

from mmdino.engine.host_reads import waits

MOST_PENDING = 1000
"""Values that wait to be read at most, so that they take no memory of note."""
FITTING = {np.dtype(float): (float, int), np.dtype(int): (int,)}
"""What can be added to an array of a type without changing it."""


class DeferredHistory(HistoryBuffer):
    """mmengine's ``HistoryBuffer``, to which adding a value costs neither a wait nor a copy.

    mmengine's copies its arrays to add a value, which after 200,000 iterations takes milliseconds a
    step. Whoever reads this one, by whatever method, gets the values of mmengine's; in a checkpoint
    it is mmengine's.

    Args:
        history: The values so far.
    """

    def __init__(self, history: HistoryBuffer) -> None:
        self._pending: list[Tensor | float] = []
        self._pending_counts: list[float] = []
        values, counts = history.data
        super().__init__(values, counts, history.max_length)

    def update(self, log_val: Tensor | float, count: float = 1) -> None:
        """Adds a value.

        Args:
            log_val: A number, or a tensor of one element. One on a device is read later, and must
                not be written to until then.
            count: Number of values that it is the sum of.

        Raises:
            TypeError: If it is neither, or the count is no number.
        """
        if isinstance(log_val, Tensor):
            log_val = log_val.detach().reshape(1) if waits(log_val) else log_val.item()
        elif not isinstance(log_val, (int, float)):
            raise TypeError(f"log_val must be a number or a tensor, but got {type(log_val)}.")
        if not isinstance(count, (int, float)):
            raise TypeError(f"count must be a number, but got {type(count)}.")
        if not self._pending and not isinstance(log_val, Tensor):
            self._values.append(log_val, self.max_length)
            self._counts.append(count, self.max_length)
            return
        # Numbers too, behind what is still on the device.
        self._pending.append(log_val)
        self._pending_counts.append(count)
        if len(self._pending) >= MOST_PENDING:
            self._read()

    @property
    def known(self) -> np.ndarray:
        """The values, without those that the host would have to wait for."""
        return self._values.newest(self.max_length)

    @property
    def newest(self) -> Tensor | float:
        """The last value, as it was given."""
        return self._pending[-1] if self._pending else self.current()

    # Under these names the base class keeps its arrays, from which all its methods compute.

    @property
    def _log_history(self) -> np.ndarray:
        self._read()
        return self._values.newest(self.max_length)

    @_log_history.setter
    def _log_history(self, values: Sequence[float]) -> None:
        self._values = _GrowingArray(values)

    @property
    def _count_history(self) -> np.ndarray:
        self._read()
        return self._counts.newest(self.max_length)

    @_count_history.setter
    def _count_history(self, counts: Sequence[float]) -> None:
        self._counts = _GrowingArray(counts)

    def _read(self) -> None:
        """Moves what is pending into the arrays."""
        if not self._pending:
            return
        pending, counts = self._pending, self._pending_counts
        self._pending, self._pending_counts = [], []
        # In one copy, for which the host waits once.
        tensors = [value for value in pending if isinstance(value, Tensor)]
        numbers = iter(torch.cat(tensors).tolist())
        for value, count in zip(pending, counts, strict=True):
            number = next(numbers) if isinstance(value, Tensor) else value
            self._values.append(number, self.max_length)
            self._counts.append(count, self.max_length)

    def __reduce_ex__(self, protocol: int) -> Any:
        """Has copies and pickles be mmengine's."""
        return HistoryBuffer, (*self.data, self.max_length)


class _GrowingArray:
    """A vector with room for more at its end."""

    def __init__(self, values: Sequence[float]) -> None:
        self._store = np.array(values)
        self._length = len(values)

    def newest(self, most: int) -> np.ndarray:
        """Returns the last values."""
        return self._store[max(self._length - most, 0) : self._length]

    def append(self, value: float, keep: int) -> None:
        """Adds a value; of those before, at least ``keep`` stay."""
        if self._length == len(self._store) or not isinstance(
            value, FITTING.get(self._store.dtype, ())
        ):
            kept = self.newest(keep)
            dtype = np.result_type(self._store.dtype, type(value))
            self._store = np.empty(len(kept) + len(kept) // 8 + 16, dtype)
            self._store[: len(kept)] = kept
            self._length = len(kept)
        self._store[self._length] = value
        self._length += 1


def known_values(history: HistoryBuffer) -> np.ndarray:
    """Returns the values of a history, without those that the host would have to wait for."""
    return history.known if isinstance(history, DeferredHistory) else history.data[0]


def newest_value(history: HistoryBuffer) -> Tensor | float:
    """Returns the last value of a history, as a tensor if the host would have to wait for it."""
    return history.newest if isinstance(history, DeferredHistory) else history.current()


def log_scalar(hub: MessageHub, name: str, value: Tensor | float) -> None:
    """Adds to a history of a message hub what is read only when somebody asks for it.

    Args:
        hub: The message hub.
        name: Name of the history, such as "train/loss".
        value: A number, or a tensor of one element that is not written to afterwards.
    """
    history = hub.log_scalars.get(name)
    if isinstance(history, DeferredHistory):
        history.update(value)
    else:
        hub.update_scalar(name, value)
        hub.log_scalars[name] = DeferredHistory(hub.log_scalars[name])
