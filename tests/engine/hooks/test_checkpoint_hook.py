"""Checkpoints survive full disks, kills, moves and weights that are not finite."""

from __future__ import annotations

import errno
import itertools
import shutil

import pytest
import tiny_run
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook

from mmdino.engine.checkpoints import POINTER, newest_checkpoint


def build(work_dir, *, epochs=3, validation=False, hook=None, **options):
    checkpoint = {"type": "mmdino.CheckpointHook", "interval": 1, **(hook or {})}
    return tiny_run.build(
        work_dir,
        epochs=epochs,
        default_hooks={"checkpoint": checkpoint},
        log_level="INFO",
        **(tiny_run.validation() if validation else {}),
        **options,
    )


def names(work_dir):
    """All files and folders that begin a checkpoint's name, the hidden ones too."""
    return sorted(path.name for path in work_dir.iterdir() if ".pth" in path.name)


class Disk(Hook):
    """A disk that is full when the given checkpoint is written; notes what else was there then."""

    def __init__(self, monkeypatch, full_at=None):
        self.present = {}
        self.full_at = full_at
        monkeypatch.setattr(LocalBackend, "put", self.put)

    def put(self, obj, filepath):
        path = tiny_run.Path(filepath)
        self.present[path.name] = names(path.parent.parent)
        content = bytes(obj)
        if path.name == self.full_at:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", filepath)
        path.write_bytes(content)


def test_an_old_checkpoint_goes_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    build(tmp_path, hook={"max_keep_ckpts": 1}).train()
    assert disk.present["epoch_2.pth"] == [".epoch_2.pth.partial", "epoch_1.pth"]
    assert names(tmp_path) == ["epoch_3.pth"]
    assert (tmp_path / POINTER).read_text() == "epoch_3.pth"


def test_a_full_disk_stops_the_run_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    Disk(monkeypatch, full_at="epoch_2.pth")
    with pytest.raises(OSError, match=r"epoch_2\.pth could not be written: No space left") as error:
        build(tmp_path, hook={"max_keep_ckpts": 1}).train()
    assert error.value.errno == errno.ENOSPC
    assert str(error.value).endswith(
        f"Last whole checkpoint: {tmp_path / 'epoch_1.pth'} (iteration 3). What to do: free some "
        "space, or write to another disk, then continue with --resume."
    )
    assert names(tmp_path) == ["epoch_1.pth"]
    monkeypatch.undo()
    build(tmp_path, resume=True).train()
    assert names(tmp_path) == ["epoch_1.pth", "epoch_2.pth", "epoch_3.pth"]


def test_what_a_killed_write_left_is_removed_and_not_what_another_process_writes(tmp_path):
    for name in ("epoch_7.pth", "result.json"):
        (tmp_path / f".{name}.partial").mkdir()
        (tmp_path / f".{name}.partial" / name).write_bytes(b"half")
    build(tmp_path, epochs=1).train()
    assert names(tmp_path) == ["epoch_1.pth"]
    assert (tmp_path / ".result.json.partial" / "result.json").exists()


def test_the_previous_best_checkpoint_goes_last(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    # Every validation is better than the one before.
    scores = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr("mmengine.evaluator.Evaluator.evaluate", lambda *_: {"a/b": next(scores)})
    hook = {"save_best": "a/b", "rule": "greater"}
    build(tmp_path, validation=True, hook=hook).train()
    assert "best_a_b_epoch_1.pth" in disk.present["best_a_b_epoch_2.pth"]
    assert names(tmp_path) == ["best_a_b_epoch_3.pth", *(f"epoch_{n}.pth" for n in (1, 2, 3))]


def test_a_metric_that_is_not_measured_is_refused(tmp_path):
    hook = {"save_best": "knn/topp1", "rule": "greater"}
    with pytest.raises(ValueError, match=r"save_best='knn/topp1', which .* It gives knn/top1, "):
        build(tmp_path, validation=True, hook=hook).train()


def test_a_validation_by_itself_writes_nothing(tmp_path):
    build(tmp_path, validation=True, hook={"save_best": "knn/top1", "rule": "greater"}).val()
    assert names(tmp_path) == []


def test_a_copied_work_dir_leaves_the_original_alone(tmp_path, monkeypatch):
    # The validation after the checkpoint is done again.
    scores = iter([1.0, 1.0, 2.0])
    monkeypatch.setattr("mmengine.evaluator.Evaluator.evaluate", lambda *_: {"a": next(scores)})
    hook = {"save_best": "a", "rule": "greater"}
    build(tmp_path / "original", epochs=1, validation=True, hook=hook).train()
    before = names(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    runner = build(tmp_path / "copy", epochs=2, validation=True, hook=hook, resume=True)
    runner.train()
    assert f"Resuming from {tmp_path / 'copy' / 'epoch_1.pth'}" in tiny_run.log_text(runner)
    assert names(tmp_path / "original") == before
    assert names(tmp_path / "copy") == ["best_a_epoch_2.pth", "epoch_1.pth", "epoch_2.pth"]


@pytest.mark.parametrize("accumulate_by", ["mmdino.StepOptimWrapper", "OptimWrapper"])
def test_a_checkpoint_waits_for_the_end_of_its_step(tmp_path, accumulate_by):
    wrapper = {"type": accumulate_by}
    if accumulate_by == "OptimWrapper":
        wrapper["clip_grad"] = None
    build(
        tmp_path,
        dataset=tiny_run.RandomViews(13),
        batch_size=1,
        epochs=2,
        accumulative_counts=2,
        wrapper=wrapper,
        hook={"by_epoch": False, "interval": 5},
    ).train()
    # Five is within the third step. An epoch ends with a step of one micro-batch where ours counts.
    ends = {"mmdino.StepOptimWrapper": (6, 10, 15, 21, 25, 26), "OptimWrapper": (6, 10, 16, 20, 26)}
    found = {int(name[5:-4]) for name in names(tmp_path)}
    assert found == set(ends[accumulate_by])


def test_a_disk_that_is_full_at_once_has_nothing_to_continue(tmp_path, monkeypatch):
    Disk(monkeypatch, full_at="epoch_1.pth")
    with pytest.raises(
        OSError, match=r"Last whole checkpoint: none\. What to do: free some"
    ) as error:
        build(tmp_path).train()
    assert "--resume" not in str(error.value)


def test_one_name_for_all_checkpoints_keeps_the_last(tmp_path):
    build(tmp_path, hook={"filename_tmpl": "latest.pth", "max_keep_ckpts": 1}).train()
    assert names(tmp_path) == ["latest.pth"]
    assert newest_checkpoint(tmp_path).found.iteration == 9


def test_a_checkpoint_of_somebody_else_removes_nothing_of_ours(tmp_path):
    build(tmp_path, epochs=1).train()
    elsewhere, config = tmp_path.with_name("elsewhere.pth"), tmp_path / "config.py"
    elsewhere.touch()
    config.touch()
    content = torch.load(tmp_path / "epoch_1.pth", weights_only=False)
    content["message_hub"]["runtime_info"]["outdated_ckpts"] = [str(elsewhere), "config.py", ".."]
    torch.save(content, tmp_path / "epoch_1.pth")
    build(tmp_path, epochs=2, resume=True).train()
    assert elsewhere.exists()
    assert config.exists()


def test_a_clock_that_was_set_back_changes_no_order(tmp_path, monkeypatch):
    clock = itertools.count(2e9, -1000)
    monkeypatch.setattr("time.time", lambda: next(clock))
    build(tmp_path).train()
    assert newest_checkpoint(tmp_path).found.path == tmp_path / "epoch_3.pth"


def test_moments_that_are_not_finite_are_not_written(tmp_path):
    class BreaksMoments(Breaks):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter + 1 == self.iteration:
                state = runner.optim_wrapper.optimizer.state
                next(iter(state.values()))["exp_avg_sq"].fill_(float("inf"))

    runner = build(tmp_path, hook={"by_epoch": False})
    runner.register_hook(BreaksMoments(2))
    with pytest.raises(ValueError, match=r"not finite after iteration 2 .*optimizer\.state\."):
        runner.train()
    assert names(tmp_path) == ["iter_1.pth"]


class Breaks(Hook):
    """Makes a weight NaN after the given iteration, whose loss was finite."""

    priority = "VERY_HIGH"

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            with torch.no_grad():
                runner.model.head.mlp[0].bias[0] = float("nan")


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    runner = build(tmp_path, hook={"by_epoch": False, "max_keep_ckpts": 1})
    runner.register_hook(Breaks(4))
    with pytest.raises(ValueError, match="weights are not finite after iteration 4") as error:
        runner.train()
    assert "(2 tensor(s) with NaN or infinite values, the first is head.mlp.0.bias)" in str(
        error.value
    )
    assert f"Last good checkpoint: {tmp_path / 'iter_3.pth'} (iteration 3)" in str(error.value)
    assert names(tmp_path) == ["iter_3.pth"]


def test_a_finished_run_says_that_nothing_is_left(tmp_path):
    build(tmp_path, epochs=1).train()
    runner = build(tmp_path, epochs=1, resume=True)
    runner.train()
    assert "Nothing is left to train: the checkpoint stands at iteration 3 of 3" in (
        tiny_run.log_text(runner)
    )


def test_resuming_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing to resume in .*leave out --resume"):
        build(tmp_path, resume=True).train()


def test_checkpoints_in_another_folder_are_found(tmp_path):
    hook = {"out_dir": str(tmp_path / "out")}
    build(tmp_path / "run", epochs=1, hook=hook).train()
    assert (tmp_path / "run" / POINTER).read_text() == "../out/run/epoch_1.pth"
    build(tmp_path / "run", epochs=2, hook=hook, resume=True).train()
    found = newest_checkpoint(tmp_path / "run").found
    assert found.path.resolve() == tmp_path / "out" / "run" / "epoch_2.pth"


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"interval": 0}, "invalid interval=0 of CheckpointHook"),
        ({"interval": -2}, "invalid interval=-2 of CheckpointHook"),
        ({"out_dir": "s3://bucket/runs"}, "expected a local folder"),
        ({"filename_tmpl": "epoch_{}.ckpt"}, r"expected a file name that ends in \.pth"),
        ({"filename_tmpl": "a/epoch_{}.pth"}, r"expected a file name that ends in \.pth"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, hook, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, hook=hook)
