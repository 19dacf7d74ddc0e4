"""mmengine's checkpoints load under torch's restricted unpickler, and only they do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmdino.utils.safe_pickle import allow_checkpoint_classes, history_buffer_method


class Foreign:
    """A class that no checkpoint contains."""


def test_history_and_numpy_values_load(tmp_path):
    allow_checkpoint_classes()
    history = HistoryBuffer()
    history.update(3.0)
    torch.save({"loss": history, "lr": np.float64(0.1), "n": np.arange(3)}, tmp_path / "a.pth")
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert loaded["loss"].current() == 3.0
    assert loaded["loss"].mean(1) == 3.0
    assert loaded["lr"] == 0.1
    assert loaded["n"].tolist() == [0, 1, 2]


def test_anything_else_is_still_refused(tmp_path):
    allow_checkpoint_classes()
    torch.save({"model": Foreign()}, tmp_path / "a.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "a.pth", weights_only=True)


@pytest.mark.parametrize(("owner", "name"), [(str, "format"), (HistoryBuffer, "__class__")])
def test_attributes_of_other_things_are_not_handed_out(owner, name):
    with pytest.raises(ValueError, match="corrupted or malicious"):
        history_buffer_method(owner, name)
