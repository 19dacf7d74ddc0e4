"""The machine that a run is trained on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch


def describe_machine(threads: int | None = None) -> str:
    """Returns processor, cores, accelerator, torch and the threads of a process in words.

    Args:
        threads: OMP_NUM_THREADS of the process; None for that of the environment.
    """
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    threads = threads or os.environ.get("OMP_NUM_THREADS")
    return ", ".join(
        [
            _processor(),
            f"{os.cpu_count()} cores",
            accelerator,
            f"torch {torch.__version__}",
            *([f"OMP_NUM_THREADS={threads}"] if threads else []),
        ]
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
