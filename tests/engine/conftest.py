"""A device that needs no hardware."""

from __future__ import annotations

import pytest
import torch

from mmdino.engine import deferred_history, host_reads
from mmdino.engine.hooks import collapse_monitor_hook, finite_loss_hook
from mmdino.engine.optimizers import gradients

READERS = (host_reads, deferred_history, finite_loss_hook, collapse_monitor_hook, gradients)
"""Modules that ask whether reading a value makes the host wait."""


@pytest.fixture
def pretended_device(monkeypatch):
    """Has the CPU taken for a device, for whose values the host would have to wait."""
    for module in READERS:
        monkeypatch.setattr(module, "waits", torch.is_tensor)
