"""mmengine's checkpoints load under torch's restricted unpickler, and only they do."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmdino.utils.safe_pickle import checkpoint_classes_allowed, history_buffer_method


def load(path):
    with checkpoint_classes_allowed():
        return torch.load(path, weights_only=True)


@pytest.mark.parametrize("core", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_history_and_values_of_any_numpy_load(tmp_path, core):
    history = HistoryBuffer()
    history.update(3.0)
    content = {"loss": history, "lr": np.float64(0.1), "n": np.arange(3)}
    # In this format a name can be changed in place.
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    installed = np.float64(0).__reduce__()[0].__module__
    pickled = (tmp_path / "a.pth").read_bytes()
    assert installed.encode() in pickled
    (tmp_path / "a.pth").write_bytes(pickled.replace(installed.encode(), core.encode()))
    loaded = load(tmp_path / "a.pth")
    assert loaded["loss"].current() == 3.0
    assert loaded["loss"].mean(1) == 3.0
    assert loaded["lr"] == 0.1
    assert loaded["n"].tolist() == [0, 1, 2]


def test_anything_else_is_still_refused(tmp_path):
    torch.save({"model": Fraction(1, 2)}, tmp_path / "a.pth")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load(tmp_path / "a.pth")


def test_what_others_allow_is_neither_used_nor_changed(tmp_path):
    torch.save({"model": Fraction(1, 2)}, tmp_path / "a.pth")
    torch.serialization.add_safe_globals([Fraction])
    try:
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(pickle.UnpicklingError, match=r"fractions\.Fraction"):
            load(tmp_path / "a.pth")
        assert set(torch.serialization.get_safe_globals()) == before
        assert HistoryBuffer not in before
    finally:
        torch.serialization.clear_safe_globals()


@pytest.mark.parametrize(("owner", "name"), [(str, "format"), (HistoryBuffer, "__class__")])
def test_attributes_of_other_things_are_not_handed_out(owner, name):
    with pytest.raises(ValueError, match="corrupted or malicious"):
        history_buffer_method(owner, name)
