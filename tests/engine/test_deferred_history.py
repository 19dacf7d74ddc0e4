"""Histories of values that are still on the device."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmdino.engine import deferred_history
from mmdino.engine.deferred_history import DeferredHistory, known_values, log_scalar, newest_value

VALUES = [1, 2.5, torch.tensor(0.1), 3, torch.tensor([7.0], dtype=torch.bfloat16), 4.5]


def filled(values, max_length=1000):
    history = DeferredHistory(HistoryBuffer(max_length=max_length))
    for value in values:
        history.update(value)
    return history


def mmengines(values, max_length=1000):
    history = HistoryBuffer(max_length=max_length)
    for value in values:
        history.update(value.item() if torch.is_tensor(value) else value)
    return history


@pytest.fixture(params=["host", "device"])
def either_place(request):
    """Has values read at once, or later."""
    if request.param == "device":
        request.getfixturevalue("pretended_device")


@pytest.mark.parametrize("max_length", [1000, 4])
@pytest.mark.parametrize("start", [[], [5, 6], [0.5]], ids=["empty", "of int", "of float"])
def test_what_is_read_is_mmengines(either_place, start, max_length):
    expected, found = (HistoryBuffer(start, [1] * len(start), max_length) for _ in range(2))
    found = DeferredHistory(found)
    for number, value in enumerate(VALUES * 3):
        found.update(value, count=number + 1)
        expected.update(value.item() if torch.is_tensor(value) else value, number + 1)
        if number % 4 == 0:
            assert found.current() == expected.current()
            assert found.mean(3) == expected.mean(3)
            assert found.statistics("max") == expected.max()
    for ours, theirs in zip(found.data, expected.data, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_a_copy_is_mmengines_as_it_is_in_a_checkpoint(pretended_device, copied):
    found = copied(filled(VALUES))
    assert type(found) is HistoryBuffer
    np.testing.assert_array_equal(found.data[0], mmengines(VALUES).data[0])


def test_what_is_known_is_what_the_host_has(pretended_device):
    history = filled([1.0, 2.0])
    history.update(torch.tensor(3.0))
    assert known_values(history).tolist() == [1, 2]
    assert newest_value(history) == torch.tensor(3.0)
    assert history.data[0].tolist() == known_values(history).tolist() == [1, 2, 3]
    assert newest_value(history) == 3
    assert known_values(mmengines([4.0])).tolist() == [newest_value(mmengines([4.0]))] == [4]


def test_a_gradient_is_not_kept(pretended_device):
    history = filled([torch.ones((), requires_grad=True) * 2])
    assert not newest_value(history).requires_grad


def test_few_values_stay_on_the_device(pretended_device, monkeypatch):
    monkeypatch.setattr(deferred_history, "MOST_PENDING", 5)
    history = filled([torch.tensor(1.0)] * 12)
    assert len(known_values(history)) == 10


@pytest.mark.parametrize(("value", "count"), [("1", 1), (None, 1), (1.0, "1")])
def test_what_is_no_number_is_refused(value, count):
    with pytest.raises(TypeError, match="must be a number"):
        filled([]).update(value, count)


def test_a_hub_has_one_history_of_a_name(pretended_device):
    hub = MessageHub("test_a_hub_has_one_history_of_a_name")
    hub.update_scalar("train/loss", 1.0)
    log_scalar(hub, "train/loss", torch.tensor(2.0))
    log_scalar(hub, "train/loss", torch.tensor(3.0))
    hub.update_scalar("train/loss", 4.0)
    assert hub.get_scalar("train/loss").data[0].tolist() == [1, 2, 3, 4]


def logged(work_dir):
    """Trains; returns the lines of the log without times, and the histories in the checkpoint."""
    runner = tiny_run.build(
        work_dir,
        default_hooks={
            "runtime_info": {"type": "mmdino.RuntimeInfoHook"},
            "logger": {"type": "LoggerHook", "interval": 2},
            "checkpoint": {"type": "mmdino.CheckpointHook"},
        },
    )
    runner.train()
    (scalars,) = Path(runner.log_dir).glob("vis_data/scalars.json")
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    checkpoint = torch.load(work_dir / "epoch_2.pth", weights_only=False)
    return [without_times(line) for line in lines], checkpoint["message_hub"]["log_scalars"]


def without_times(scalars):
    measured = ("time", "images_per_s", "data_fraction")
    return {name: value for name, value in scalars.items() if not name.endswith(measured)}


def test_log_and_checkpoint_are_those_of_values_that_are_read_at_once(tmp_path, request):
    lines, histories = logged(tmp_path / "at once")
    request.getfixturevalue("pretended_device")
    later_lines, later_histories = logged(tmp_path / "later")
    assert len(lines) == 2
    assert {"loss", "grad_norm", "clipped_tensors", "feature_std", "lr"} < lines[0].keys()
    assert later_lines == lines
    assert later_histories.keys() == histories.keys()
    for name, history in without_times(histories).items():
        assert type(later_histories[name]) is HistoryBuffer
        np.testing.assert_array_equal(later_histories[name].data[0], history.data[0])
