"""CUDA itself reports no wait of the host in a step, except where a line of the log is written."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import pytest
import torch
from tiny_demo import LOG_INTERVAL, train_steps

REPORT = "called a synchronizing CUDA operation"


@pytest.mark.parametrize("name", ["dino_demo", "dinov3/dinov3_demo"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_host_waits_where_it_logs_alone(tmp_path, name, precision):
    waits = []

    @contextmanager
    def observed():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits.append([f"{w.filename}:{w.lineno}" for w in caught if REPORT in str(w.message)])

    train_steps(name, tmp_path, observed, precision=precision)
    # The first step allocates and chooses kernels.
    for number, waited in enumerate(waits[1:], start=2):
        if number % LOG_INTERVAL:
            assert not waited, f"iteration {number}"
