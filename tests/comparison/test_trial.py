"""A short trial tells how many epochs fit into a time."""

from __future__ import annotations

import json

import pytest
import tiny_comparison
from mmengine.config import Config

from mmdino.comparison import trial
from mmdino.comparison.process import Usage
from mmdino.comparison.trial import Cost, epochs_in_time, fitting_epochs
from mmdino.comparison.trial_hook import STARTED, TrialHook

TRUE = Cost(start=1.0, validation=0.5, iteration=0.05)


class PretendedTraining:
    """A process of known cost, whose clock goes on by 10 ms with each look at it."""

    exit_code = None

    def __init__(self, command, log, length):
        self.log = log.parent / "20260101_000000" / "vis_data" / "scalars.json"
        self.log.parent.mkdir(parents=True)
        self.in_trial = any(TrialHook.__name__ in word for word in command)
        self.parts = self.train(length)
        self.used, self.due = 0.0, next(self.parts)

    def train(self, length):
        """Yields the cost of each part of the training, and does it when asked for the next."""
        yield TRUE.start
        (self.log.parents[2] / STARTED).touch()
        if self.in_trial:
            yield TRUE.validation
            self.write({"knn/top1": 1.0, "step": 0})
        for iteration in range(1, 10**6):
            yield TRUE.iteration
            self.write({"loss": 1.0, "iter": iteration})
            if iteration % length == 0 and not self.in_trial:
                yield TRUE.validation
                self.write({"knn/top1": 1.0, "step": iteration // length})

    def write(self, values):
        with self.log.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def poll(self):
        self.used += 0.01
        while self.used >= self.due:
            self.due += next(self.parts)

    def usage(self):
        return Usage(0.0, self.used, 0.0)

    def end(self):
        self.parts.close()


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


@pytest.mark.parametrize("loop", ["mmdino.ResumableTrainLoop", "EpochBasedTrainLoop"])
@pytest.mark.parametrize("length", [2, 10**5])
def test_a_trial_measures_validations_and_iterations_apart(tmp_path, monkeypatch, loop, length):
    """Whether an epoch is shorter than the trial or longer, and whatever the loop."""
    method = tiny_comparison.method(epochs=1000, iterations_per_epoch=length)
    method.cfg.train_cfg = Config({"type": loop, "max_epochs": 1000})
    monkeypatch.setattr(
        trial, "TrainingProcess", lambda command, log: PretendedTraining(command, log, length)
    )
    monkeypatch.setattr(trial, "SECONDS_BETWEEN_LOOKS", 0)
    epochs_in_time(method, 200.0, tiny_comparison.SCRIPT, tmp_path)
    kept = json.loads((tmp_path / "works" / "trial.json").read_text())["cost"]
    assert kept["start"] == pytest.approx(TRUE.start, abs=0.02)
    assert kept["validation"] == pytest.approx(TRUE.validation, abs=0.02)
    assert kept["iteration"] == pytest.approx(TRUE.iteration, rel=0.02)


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
