"""What a recipe is told of the machine."""

from __future__ import annotations

import pytest
import torch

from mmdino.engine import precision
from mmdino.folder_recipe import machine
from mmdino.folder_recipe.machine import this_machine


@pytest.mark.parametrize(
    ("device", "flags", "expected"),
    [
        ("cpu", "flags : fpu amx_bf16", ("No GPU", "bfloat16")),
        ("cpu", "flags : fpu avx2", ("No GPU", None)),
        ("mps", "flags : bf16", ("Device mps", None)),
    ],
)
def test_precision_is_that_of_the_device(monkeypatch, device, flags, expected):
    monkeypatch.setattr(machine, "get_device", lambda: device)
    monkeypatch.setattr(precision, "cpu_info", lambda: flags)
    found = this_machine()
    assert (found.name, found.low_precision) == expected
    assert found.memory > 0
    assert found.cores >= 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_gpu_has_its_own_memory_and_precision(monkeypatch, dtype):
    monkeypatch.setattr(machine, "get_device", lambda: "cuda")
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(40e9), int(80e9)))
    monkeypatch.setattr(machine, "autocast_dtype", lambda precision, device: dtype)
    name = str(dtype).removeprefix("torch.")
    assert this_machine().describe() == (
        f"Some GPU, 8 cores, 40 GB of memory free, computes in {name}."
    )
