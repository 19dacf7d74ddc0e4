"""Runs train as processes of their own, whose end and usage are noted."""

from __future__ import annotations

import io
import json
import os

import pytest
import tiny_comparison

from mmdino.comparison.progress import Progress
from mmdino.comparison.record import open_record
from mmdino.comparison.training import threads_per_job, train_all


def train(runs, jobs=1, progress=None):
    """Trains runs; returns their records and what was shown."""
    records = [(run, open_record(run)) for run in runs]
    shown = io.StringIO()
    train_all(records, tiny_comparison.SCRIPT, jobs, progress or Progress(runs, [], shown))
    return [record for _, record in records], shown.getvalue()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_is_noted_with_what_it_used(tmp_path):
    run = tiny_comparison.run(tmp_path)
    (record,), shown = train([run])
    assert record.state == "trained"
    assert len(record.attempts) == 1
    assert record.usage.elapsed_s > 0
    assert record.usage.processor_s > 0
    assert record.usage.memory_mib > 1
    assert open_record(run) == record, "it is kept in the folder of the run"
    assert shown.splitlines() == [
        "[0 of 1 runs done] works, seed 0: starts of 2 iterations",
        f"[1 of 1 runs done] works, seed 0: trained in {shown.split()[-1]}",
    ]


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path):
    runs = [tiny_comparison.run(tmp_path, "fails"), tiny_comparison.run(tmp_path, "works")]
    records, shown = train(runs)
    assert [record.state for record in records] == ["failed", "trained"]
    log = runs[0].folder / "train.log"
    assert records[0].error == f"exit code 1, see {log}\nerror: the loss is not finite"
    assert f"fails, seed 0: failed: {records[0].error}" in shown


def test_a_trained_run_is_not_trained_again_and_a_failed_one_is(tmp_path):
    runs = [tiny_comparison.run(tmp_path, "fails"), tiny_comparison.run(tmp_path, "works")]
    train(runs)
    records, shown = train(runs)
    assert "works" not in shown
    assert [len(record.attempts) for record in records] == [2, 1]
    assert records[0].usage.processor_s == sum(a["processor_s"] for a in records[0].attempts)


def test_jobs_train_at_the_same_time(tmp_path, monkeypatch):
    """The first would never end; it is ended once the second, which started after it, has."""
    runs = [tiny_comparison.run(tmp_path, "waits"), tiny_comparison.run(tmp_path, "works")]

    class EndAll(Progress):
        def finished(self, run, seconds, error=""):
            raise KeyboardInterrupt

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with pytest.raises(KeyboardInterrupt):
        train(runs, jobs=2, progress=EndAll(runs, [], io.StringIO()))
    expected = str(max(1, os.cpu_count() // 2))
    assert [(run.folder / "threads").read_text() for run in runs] == [expected] * 2


def test_an_interruption_ends_the_process_and_keeps_what_it_used(tmp_path):
    run = tiny_comparison.run(tmp_path, "waits")

    class Interrupt(Progress):
        def trained(self, run, iteration):
            if iteration:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([run], progress=Interrupt([run], [], io.StringIO()))
    assert not is_alive(int((run.folder / "pid").read_text()))
    record = open_record(run)
    assert record.state == "training"
    assert record.usage.elapsed_s > 0


def test_another_plan_in_the_folder_is_refused_with_what_differs(tmp_path):
    train([tiny_comparison.run(tmp_path)])
    other = tiny_comparison.run(tmp_path)
    other.method.cfg.train_cfg.val_interval = 3
    differs = "train_cfg.val_interval is 2 in the folder, 3 in this command"
    with pytest.raises(ValueError, match=differs):
        open_record(other)


@pytest.mark.parametrize("text", ["{", "[]", '{"digest": ""}'])
def test_a_record_that_cannot_be_read_is_refused(tmp_path, text):
    run = tiny_comparison.run(tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / "result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result.json cannot be read: .* Remove the folder"):
        open_record(run)


def test_the_work_dir_and_the_machine_are_no_part_of_the_plan(tmp_path):
    run = tiny_comparison.run(tmp_path)
    before = json.dumps(run.content)
    run.method.cfg.merge_from_dict({"work_dir": "elsewhere", "env_cfg": {"cudnn_benchmark": True}})
    assert json.dumps(run.content) == before


def test_threads_are_those_of_the_environment_where_it_says(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_per_job(jobs) for jobs in (1, 2, 16)] == [None, 4, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_per_job(2) is None
