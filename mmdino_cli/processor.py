"""What the operating system says of the processor, without torch."""

from __future__ import annotations

import os

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
"""What Linux calls the instructions of Intel, AMD and ARM that compute in bfloat16."""


def bfloat16_instructions(cpu_info: str) -> list[str]:
    """Returns the instructions for bfloat16 that the text of ``/proc/cpuinfo`` names."""
    flags = set(cpu_info.split())
    return [flag for flag in BFLOAT16_FLAGS if flag in flags]


def cpu_info() -> str:
    """Returns the text of ``/proc/cpuinfo``, which is empty where there is none."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
