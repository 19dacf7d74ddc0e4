"""What a recipe depends on of the machine that it runs on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.device import get_device

from mmdino.engine.precision import autocast_dtype
from mmdino_cli.processor import usable_cores

ASSUMED_MEMORY = 8.0
"""GB of free memory on systems other than Linux."""


@dataclass(frozen=True)
class Machine:
    """The device that trains, and the cores that load images."""

    device: str
    """"cpu", or torch's name of the kind of accelerator."""
    name: str
    """What it is called."""
    memory: float
    """Free memory of the device, in GB."""
    cores: int
    low_precision: str | None
    """Type of mixed precision that the device computes with, such as "bfloat16"; None if there is
    none."""

    def describe(self) -> str:
        """Returns the machine in a line."""
        precision = f"computes in {self.low_precision}" if self.low_precision else "float32 only"
        return (
            f"{self.name}, {self.cores} core{'s' if self.cores > 1 else ''}, "
            f"{self.memory:.0f} GB of memory free, {precision}."
        )


def this_machine() -> Machine:
    """Looks at this machine, and at the first GPU if it has any."""
    device = get_device()
    name, memory, dtype = f"Device {device}", free_memory(), None
    if device in ("cuda", "cpu"):
        dtype = autocast_dtype("auto", device)
    if device == "cuda":
        name, memory = torch.cuda.get_device_name(), torch.cuda.mem_get_info()[0] / 1e9
    elif device == "cpu":
        name = "No GPU"
    low_precision = None if dtype is None else str(dtype).removeprefix("torch.")
    return Machine(device, name, memory, usable_cores(), low_precision)


def free_memory() -> float:
    """Returns the free main memory in GB; ``ASSUMED_MEMORY`` where the system does not say it."""
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
    except (FileNotFoundError, KeyError):
        return ASSUMED_MEMORY
