"""What a work dir says of its run, whatever has happened to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mmdino.report import read_run
from mmdino.utils.folder_lock import LOCK
from mmdino.visualization import TrainingCurves, curves_as_json

CONFIG = """
default_hooks = dict(collapse_monitor=dict(type='mmdino.CollapseMonitorHook'))
train_cfg = dict(max_epochs=4, type='mmdino.ResumableTrainLoop')
"""
ENVIRONMENT = """2026/01/02 10:00:00 - mmengine - INFO -
------------------------------------------------------------
System environment:
    Python: 3.11.7
    PyTorch: 2.14.1
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3
    GPU 0: A <big> one

Runtime environment:
    dist_cfg: {'backend': 'gloo'}
    GPU number: 1
------------------------------------------------------------

2026/01/02 10:00:00 - mmengine - INFO - Config:
    optimizer: not of the environment
"""
TRAINED = ("INFO", "Epoch(train)  [1][ 5/10]  lr: 1.0  loss: 4.0")
START, LATER, LATEST = "20260102_100000", "20260102_110000", "20260102_120000"


def write_log(folder, name, *lines):
    """Writes a log of mmengine; a line is a level and a message."""
    text = ENVIRONMENT
    for number, (level, message) in enumerate(lines):
        text += f"2026/01/02 10:00:{number + 1:02d} - mmengine - {level} - {message}\n"
    (folder / name).mkdir(parents=True)
    (folder / name / f"{name}.log").write_text(text)


def write_curves(folder, last=20, **options):
    """Writes training.json of a run with ten iterations an epoch."""
    iteration = np.arange(last) + 1
    curves = TrainingCurves(
        iteration=iteration, loss=5 / iteration, iterations_per_epoch=10, **options
    )
    (folder / "training.json").write_text(json.dumps(curves_as_json(curves)))
    return curves


def write_values(folder, start, *iterations):
    """Writes the values that a start has logged."""
    path = folder / start / "vis_data" / "scalars.json"
    path.parent.mkdir()
    lines = [json.dumps({"iter": number, "loss": 4.0}) for number in iterations]
    path.write_text("\n".join(lines))


def write_checkpoint(folder, iteration, written, **more):
    """Writes what a checkpoint tells of itself."""
    meta = {"iter": iteration, "written": written, **more}
    torch.save({"meta": meta, "state_dict": {}}, folder / f"iter_{iteration}.pth")


@pytest.fixture
def folder(tmp_path):
    """A work dir of a run that was stopped after 20 of 40 iterations."""
    (tmp_path / "pretrain.py").write_text(CONFIG)
    write_log(tmp_path, START, ("WARNING", "Slow."), TRAINED)
    write_curves(tmp_path, knn=[(0, 20.0, None), (20, 60.0, 90.0)], quality=[(20, {})])
    return tmp_path


def test_a_stopped_run_is_described(folder):
    run = read_run(folder.rename(folder.with_name("mine")))
    assert (run.name, run.state, run.done, run.total) == ("mine", "stopped", 20, 40)
    assert run.curves.knn == [(0, 20.0, None), (20, 60.0, 90.0)]
    assert run.environment == {
        "Python": "3.11.7",
        "PyTorch": "2.14.1",
        "GPU 0": "A <big> one",
        "GPU number": "1",
    }
    assert [message.text for message in run.messages] == ["Slow."]
    assert run.collapse is None
    assert run.written == "2026-01-02 10:00"


def test_the_curves_are_those_that_were_written(tmp_path):
    quality = [(0, {"features/rankme": 3.0}), (20, {"features/rankme": 5.0, "ridge/top1": 40.0})]
    spread = np.linspace(1, 0.5, 20)
    spread[3] = np.nan
    written = write_curves(tmp_path, quality=quality, feature_std=spread, entropy_bound=5.5)
    read = read_run(tmp_path).curves
    np.testing.assert_allclose(read.loss, written.loss, rtol=1e-5)
    np.testing.assert_allclose(read.feature_std, spread, rtol=1e-5)
    assert read.quality == quality
    assert not read.kl.size
    assert (read.entropy_bound, read.iterations_per_epoch) == (5.5, 10)


def test_a_run_at_its_end_is_finished(folder):
    write_curves(folder, last=40)
    assert read_run(folder).state == "finished"


def test_a_run_whose_process_lives_is_running(folder):
    code = (
        f"import fcntl, sys; file = open({str(folder / LOCK)!r}, 'a+'); "
        "fcntl.lockf(file, fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
        assert b"locked" in process.stdout.read1()
        assert read_run(folder).state == "running"
        process.communicate()
    assert read_run(folder).state == "stopped"


def test_a_resumed_run_has_the_messages_of_all_its_starts(folder):
    write_log(folder, LATER, ("INFO", "resumed epoch: 1, iter: 10"), ("ERROR", "Disk full."))
    texts = [message.text for message in read_run(folder).messages]
    assert texts == ["Slow.", "Resumed from iteration 10.", "Disk full."]


def test_a_start_that_failed_hides_no_earlier_warnings(folder):
    write_log(folder, LATER, ("ERROR", "No memory."))
    messages = lambda *state: [message.text for message in read_run(folder, *state).messages]  # noqa: E731
    assert messages() == ["Slow.", "No memory."]
    write_log(folder, LATEST, ("INFO", "resumed epoch: 1, iter: 10"))
    assert messages() == ["Slow.", "Resumed from iteration 10."]


@pytest.mark.parametrize(("resume", "expected"), [(False, ["New."]), (True, ["Slow.", "New."])])
def test_a_run_that_has_just_begun_is_a_new_one_unless_it_is_to_resume(folder, resume, expected):
    write_log(folder, LATER, ("INFO", f"Config:\nresume = {resume}\n"), ("WARNING", "New."))
    assert [message.text for message in read_run(folder, "running").messages] == expected


def test_a_new_run_in_the_folder_forgets_the_old_one(folder):
    write_log(folder, LATER, TRAINED, ("WARNING", "Other."))
    write_log(folder, LATEST, ("INFO", "Epoch(test) [4/4]"), ("WARNING", "Of the test."))
    for iteration, written in ((10, 2.0), (15, 3.0), (40, 1.0)):
        write_checkpoint(folder, iteration, written)
    run = read_run(folder)
    assert [message.text for message in run.messages] == ["Other."]
    assert [checkpoint.iteration for checkpoint in run.checkpoints] == [10, 15]


def test_a_new_run_has_no_curves_and_checkpoints_of_the_old_one(folder):
    for number in range(1, 5):
        write_checkpoint(folder, 10 * number, float(number), time=f"20260102_10000{number}")
    write_values(folder, START, 20, 40)
    write_curves(folder, last=40)
    hour_ago = time.time() - 3600
    for path in (folder / START / f"{START}.log", folder / "training.json"):
        os.utime(path, (hour_ago, hour_ago))
    assert read_run(folder).state == "finished"
    write_log(folder, LATER, TRAINED)
    run = read_run(folder)
    assert (run.state, run.done, run.checkpoints) == ("stopped", 0, [])
    write_values(folder, LATER, 5, 12)
    run = read_run(folder)
    assert (run.done, run.total, run.curves.iteration.tolist()) == (12, 40, [5, 12])
    write_checkpoint(folder, 25, 5.0, time="20260102_110001")
    assert [checkpoint.iteration for checkpoint in read_run(folder).checkpoints] == [25]


def test_curves_are_kept_where_the_clock_of_the_files_is_another(folder):
    log, curves = folder / START / f"{START}.log", folder / "training.json"
    # Nine hours ahead or behind, as in another zone or after a copy; the log has two seconds.
    now = time.time()
    for shift in (-32400, 32400):
        os.utime(log, (now + shift, now + shift))
        os.utime(curves, (now + shift - 1, now + shift - 1))
        assert read_run(folder).curves.knn
        os.utime(curves, (now + shift - 60, now + shift - 60))
        assert not read_run(folder).curves.knn


def test_a_collapse_is_that_of_the_first_warning(folder):
    warning = "Iteration {}, since about iteration {}: the targets are uniform."
    write_log(
        folder,
        LATER,
        ("INFO", "resumed epoch: 1, iter: 10"),
        ("WARNING", warning.format(16, 12)),
        ("WARNING", warning.format(20, 18)),
    )
    told = read_run(folder).collapse
    assert (told.since, told.found, told.over) == (12, "the targets are uniform.", None)


def test_without_the_file_of_the_curves_the_log_has_them(folder):
    (folder / "training.json").unlink()
    write_log(folder, LATER, TRAINED)
    values = folder / LATER / "vis_data" / "scalars.json"
    values.parent.mkdir()
    values.write_text('{"iter": 5, "loss": 4.0, "step": 5}\n{"iter": 6, "lo')
    run = read_run(folder)
    assert (run.done, run.total) == (5, 40)
    assert run.curves.loss.tolist() == [4.0]


def test_damaged_checkpoints_are_named(folder):
    (folder / "epoch_1.pth").write_bytes(b"nothing")
    run = read_run(folder)
    assert not run.checkpoints
    assert "epoch_1.pth" in run.unreadable[0]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"train": 1}', '{"train": {"iteration": [1], "loss": ["a"]}, "knn": {}}'],
)
def test_damaged_curves_are_explained(folder, text):
    (folder / "training.json").write_text(text)
    with pytest.raises(ValueError, match=r"training\.json' are damaged .*Remove the file"):
        read_run(folder)


def test_other_folders_are_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is a file"):
        read_run(folder / "training.json")
    outside = folder / "outside"
    outside.mkdir()
    with pytest.raises(FileNotFoundError, match=r"neither training\.json.*nor a log"):
        read_run(outside)
    (outside / "seed_0").mkdir()
    (folder / "training.json").rename(outside / "seed_0" / "training.json")
    with pytest.raises(FileNotFoundError, match=r"Did you mean '.*seed_0'\?"):
        read_run(outside)
