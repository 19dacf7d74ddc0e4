"""A short trial tells how many epochs fit into a time."""

from __future__ import annotations

import json

import pytest
import tiny_comparison

from mmdino.comparison import trial
from mmdino.comparison.trial import Cost, epochs_in_time, fitting_epochs


@pytest.mark.parametrize(
    ("seconds", "epochs"),
    # An epoch of 2 iterations takes 20 s, and half of a validation of 4 s; the start 8 s.
    [(30, 1), (29.9, 0), (228, 10), (8, 0), (0, 0)],
)
def test_whole_epochs_with_their_validations_fit_after_the_start(seconds, epochs):
    assert fitting_epochs(tiny_comparison.method(), Cost(8, 4, 10), seconds) == epochs


def test_a_validation_at_the_start_takes_its_time():
    method = tiny_comparison.method()
    method.cfg.train_cfg.val_at_start = True
    assert fitting_epochs(method, Cost(8, 4, 10), 30) == 0
    assert fitting_epochs(method, Cost(8, 4, 10), 34) == 1


def test_a_trial_is_done_once_and_says_what_it_chose(tmp_path, monkeypatch):
    method = tiny_comparison.method()
    epochs, line = epochs_in_time(method, 1.0, tiny_comparison.SCRIPT, tmp_path)
    assert epochs > 100, "an iteration of the pretended training takes milliseconds"
    assert line.endswith(f"{epochs} epochs, {epochs * 8:,} images, in 1 minutes.")
    assert not (tmp_path / "works" / "trial").exists()
    kept = json.loads((tmp_path / "works" / "trial.json").read_text())["cost"]
    assert kept["iteration"] > 0
    # A second trial would take another time.
    assert epochs_in_time(method, 1.0, tmp_path / "none.py", tmp_path) == (epochs, line)


def test_a_time_below_an_epoch_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"does not fit into 1e-06 minutes .* Raise --minutes"):
        epochs_in_time(tiny_comparison.method(), 1e-6, tiny_comparison.SCRIPT, tmp_path)


def test_a_system_without_proc_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "PROC", tmp_path / "none")
    with pytest.raises(ValueError, match=r"which this system lacks\. Take --images or --epochs"):
        epochs_in_time(tiny_comparison.method(), 1.0, tiny_comparison.SCRIPT, tmp_path)


def test_a_trial_that_fails_says_why(tmp_path):
    method = tiny_comparison.method("fails")
    with pytest.raises(ValueError, match="The trial of fails failed: error: the loss is not"):
        epochs_in_time(method, 1.0, tiny_comparison.SCRIPT, tmp_path)
