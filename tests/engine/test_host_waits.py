"""No step makes the host wait for the device, except where a line of the log is written.

A CPU stands in for the device: what would read a value from it, or give a tensor whose size depends
on values, counts as a wait.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from tiny_demo import LOG_INTERVAL, train_steps
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmdino.engine.host_reads import HostCopy

WAITING_OPERATORS = {
    "_local_scalar_dense",
    "_unique2",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
WAITING_METHODS = {"__array__", "as_tensor", "cpu", "new_tensor", "numpy", "tensor", "tolist"}
"""Those that reach no operator, and copies of Python's numbers to the device."""


class Waits:
    """Counts waits, in the order of iterations.

    Attributes:
        of_iterations: The names of what waited, for each iteration.
        iteration: Index of the current iteration.
    """

    def __init__(self):
        self.of_iterations = []
        self.counting = False

    @property
    def iteration(self):
        return len(self.of_iterations) - 1

    @contextmanager
    def counted(self):
        """Counts in an iteration."""
        self.of_iterations.append([])
        self.counting = True
        with Methods(self), Operators(self):
            yield
        self.counting = False

    def add(self, name):
        if self.counting:
            self.of_iterations[-1].append(name)


class Operators(TorchDispatchMode):
    """Counts operators."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        if name in WAITING_OPERATORS or (name.startswith("index") and has_mask(args)):
            self.waits.add(name)
        return func(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    """Counts methods of tensors, and functions that make them."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", None)
        if name in WAITING_METHODS or (name == "__getitem__" and has_list(args[1])):
            self.waits.add(name)
        return func(*args, **(kwargs or {}))


def has_mask(args):
    """Whether a tensor is indexed by a mask, which picks a number of elements not known before."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    return any(torch.is_tensor(index) and index.dtype == torch.bool for index in indices)


def has_list(index):
    """Whether an index has a list of Python's numbers, which is copied to the device."""
    return any(isinstance(part, list) for part in (index if isinstance(index, tuple) else (index,)))


@pytest.fixture
def waits(monkeypatch, pretended_device):
    """Waits of a training, without reading copies that were made an iteration before."""
    waits = Waits()
    make, read = HostCopy.__init__, HostCopy.read

    def note(copy, values):
        copy.iteration = waits.iteration
        make(copy, values)

    def read_in_time(copy):
        counting, waits.counting = waits.counting, False
        numbers = read(copy)
        waits.counting = counting
        if copy.iteration == waits.iteration:
            waits.add("copy of the same iteration")
        return numbers

    monkeypatch.setattr(HostCopy, "__init__", note)
    monkeypatch.setattr(HostCopy, "read", read_in_time)
    return waits


@pytest.mark.parametrize("name", ["dino_demo", "dinov3/dinov3_demo"])
def test_the_host_waits_where_it_logs_alone(tmp_path, waits, name):
    train_steps(name, tmp_path, waits.counted)
    _, *steady = waits.of_iterations
    assert len(steady) == 5
    for number, waited in enumerate(steady, start=2):
        if number % LOG_INTERVAL == 0:
            assert waited, "a line of the log has the values of the device"
        else:
            assert not waited


def test_loss_scaling_waits_once_for_the_backward_pass(tmp_path, waits):
    """With a fused optimiser, which has been given its work by then."""
    optimizer = {"type": "AdamW", "lr": 0.001, "weight_decay": 0.04, "fused": True}
    train_steps("dino_demo", tmp_path, waits.counted, 3, precision="float16", optimizer=optimizer)
    assert waits.of_iterations[1] == ["copy of the same iteration"]
