"""What only a GPU can show: ``pytest tests/gpu``. Where there is none, all is skipped."""

from __future__ import annotations

import mmengine.device.utils
import pytest
import torch


@pytest.fixture(autouse=True)
def compute_on(monkeypatch):
    """Computes on the GPU, or on another device: ``compute_on("cpu")``."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")

    def change(device):
        monkeypatch.setattr(mmengine.device.utils, "DEVICE", device)

    change("cuda")
    return change
