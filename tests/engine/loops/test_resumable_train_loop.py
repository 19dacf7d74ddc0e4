"""Resuming within an epoch. tests/engine/test_resume.py has the runs bit for bit."""

from __future__ import annotations

import pytest
import tiny_run
from mmengine.hooks import Hook


class Indices(Hook):
    """Notes the images of each iteration."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append([sample.img_path for sample in data_batch["data_samples"]])


class ValidationTimes(Hook):
    """Notes the iterations before which validations ran."""

    def __init__(self):
        self.seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append(runner.iter)


class Interruption(Exception):
    """Ends a run as a crash does."""


class Crash(Hook):
    priority = "LOWEST"

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise Interruption


def run(work_dir, crash_at=None, **options):
    """Trains two epochs of six iterations, with a checkpoint at every second."""
    checkpoint = {"type": "mmdino.CheckpointHook", "by_epoch": False, "interval": 2}
    options = {
        "batch_size": 2,
        "default_hooks": {"checkpoint": checkpoint},
        "log_level": "INFO",
        **options,
    }
    runner = tiny_run.build(work_dir, **options)
    indices = Indices()
    runner.register_hook(indices)
    if crash_at is None:
        runner.train()
    else:
        runner.register_hook(Crash(crash_at))
        with pytest.raises(Interruption):
            runner.train()
    return runner, indices.seen


@pytest.mark.parametrize("crash_at", [3, 6, 9], ids=["in epoch 1", "at its end", "in epoch 2"])
def test_a_resumed_run_reads_what_is_left_of_the_epoch(tmp_path, crash_at):
    _, whole = run(tmp_path / "whole")
    run(tmp_path / "crashed", crash_at)
    runner, rest = run(tmp_path / "crashed", resume=True)
    assert rest == whole[crash_at // 2 * 2 :]
    assert (runner.epoch, runner.iter) == (2, 12)
    assert runner.train_dataloader.sampler.start == 0


def test_the_seed_is_the_checkpoints(tmp_path):
    first, _ = run(tmp_path, crash_at=3, randomness={"seed": None})
    second, _ = run(tmp_path, resume=True, randomness={"seed": None})
    assert second.train_dataloader.sampler.seed == first.seed == second.seed


def test_another_length_of_the_epoch_is_refused(tmp_path):
    run(tmp_path, crash_at=9)
    with pytest.raises(ValueError, match=r"iteration 8 in epoch 1.*epoch of 12 iterations"):
        run(tmp_path, resume=True, batch_size=1)


@pytest.mark.parametrize(
    ("crash_at", "batch_size", "place"),
    [(9, 4, "6 in epoch 1"), (3, 1, "2 in epoch 0")],
    ids=["two epochs in one", "a longer epoch"],
)
def test_another_length_is_refused_where_the_iterations_would_fit_it(
    tmp_path, crash_at, batch_size, place
):
    """After an epoch, twice the batch would take the second one for done as well."""
    checkpoint = {"type": "mmdino.CheckpointHook", "by_epoch": crash_at > 6}
    checkpoint["interval"] = 1 if crash_at > 6 else 2
    run(tmp_path, crash_at, default_hooks={"checkpoint": checkpoint})
    with pytest.raises(ValueError, match=f"iteration {place}, which does not fit an epoch"):
        run(tmp_path, resume=True, batch_size=batch_size)


def test_a_sampler_that_cannot_start_in_the_middle_is_refused(tmp_path):
    run(tmp_path, crash_at=3)
    runner = tiny_run.build(
        tmp_path, batch_size=2, load_from=str(tmp_path / "iter_2.pth"), resume=True
    )
    runner._train_dataloader["sampler"] = {"type": "DefaultSampler", "shuffle": True}
    with pytest.raises(ValueError, match=r"has a DefaultSampler\. Use .*mmdino\.EpochSampler"):
        runner.train()


def test_validation_before_the_first_iteration(tmp_path):
    """Only there: a resumed run has had it."""
    options = {
        **tiny_run.validation(),
        "train_cfg": {"type": "mmdino.ResumableTrainLoop", "max_epochs": 2, "val_at_start": True},
        "default_hooks": {
            "checkpoint": {
                "type": "mmdino.CheckpointHook",
                "by_epoch": False,
                "interval": 2,
                "save_best": "knn/top1",
            }
        },
    }
    validations = ValidationTimes()
    run(tmp_path, crash_at=9, custom_hooks=[*tiny_run.hooks(), validations], **options)
    assert validations.seen == [0, 6]
    assert len(list(tmp_path.glob("best_knn_top1_iter_*.pth"))) == 1
    run(tmp_path, resume=True, custom_hooks=[*tiny_run.hooks(), validations], **options)
    assert validations.seen == [0, 6, 12]


class CrashInValidation(Hook):
    def __init__(self, iteration):
        self.iteration = iteration

    def before_val(self, runner):
        if runner.iter == self.iteration:
            raise Interruption


@pytest.mark.parametrize(("crash_at", "rest"), [(6, [6, 12]), (12, [12])])
def test_a_validation_that_was_interrupted_is_done_again(tmp_path, crash_at, rest):
    """The checkpoint is written before it."""
    validations = ValidationTimes()
    options = {
        **tiny_run.validation(),
        "default_hooks": {
            "checkpoint": {
                "type": "mmdino.CheckpointHook",
                "interval": 1,
                "save_best": "knn/top1",
                "rule": "greater",
            }
        },
        "batch_size": 2,
    }
    runner = tiny_run.build(tmp_path, **options)
    runner.register_hook(CrashInValidation(crash_at))
    with pytest.raises(Interruption):
        runner.train()
    runner = tiny_run.build(tmp_path, resume=True, **options)
    runner.register_hook(validations)
    runner.train()
    assert validations.seen == rest
    assert len(list(tmp_path.glob("best_knn_top1_epoch_*.pth"))) == 1


def test_a_missing_hook_is_told_before_anything_is_computed(tmp_path):
    validations = ValidationTimes()
    runner = tiny_run.build(
        tmp_path,
        custom_hooks=[*tiny_run.hooks(EMATeacherHook=None), validations],
        train_cfg={"type": "mmdino.ResumableTrainLoop", "max_epochs": 1, "val_at_start": True},
        **tiny_run.validation(),
    )
    with pytest.raises(ValueError, match="nothing updates its teacher"):
        runner.train()
    assert validations.seen == []


@pytest.mark.parametrize("val_at_start", [None, False])
def test_loaded_weights_are_validated_first_unless_told_otherwise(tmp_path, val_at_start):
    run(tmp_path / "first")
    validations = ValidationTimes()
    run(
        tmp_path / "second",
        load_from=str(tmp_path / "first" / "iter_12.pth"),
        custom_hooks=[*tiny_run.hooks(), validations],
        train_cfg={
            "type": "mmdino.ResumableTrainLoop",
            "max_epochs": 1,
            "val_at_start": val_at_start,
        },
        **tiny_run.validation(),
    )
    assert validations.seen == ([6] if val_at_start is False else [0, 6])
