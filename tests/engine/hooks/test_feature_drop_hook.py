"""A run that makes loaded features worse says so."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.registry import HOOKS

HOOK = {"type": "mmdino.FeatureDropHook"}


def trained(work_dir, **options):
    """A run with k-NN validation, told to begin with it."""
    options = {
        **tiny_run.validation(),
        "custom_hooks": [*tiny_run.hooks(), HOOK],
        "train_cfg": {"type": "mmdino.ResumableTrainLoop", "max_epochs": 2, "val_at_start": True},
        "default_hooks": {"checkpoint": {"type": "mmdino.CheckpointHook", "interval": 1}},
        "log_level": "INFO",
        **options,
    }
    runner = tiny_run.build(work_dir, **options)
    runner.train()
    return runner


def weights(folder):
    """A checkpoint that a run may start from."""
    path = folder / "weights.pth"
    torch.save(tiny_run.build(folder / "before").model.state_dict(), path)
    return str(path)


@pytest.fixture
def runner(tmp_path):
    """A run that starts from weights."""
    return tiny_run.build(tmp_path, log_level="INFO", load_from="weights.pth")


def in_training(**options):
    hook = HOOKS.build({**HOOK, **options})
    hook.before_train(None)
    return hook


def report(runner, hook, iteration, top1):
    runner.train_loop._iter = iteration
    hook.after_val_epoch(runner, {"knn/top1": top1})


def test_a_drop_below_the_start_is_warned_of(runner):
    hook = in_training()
    for iteration, top1 in ((0, 60.0), (5, 61.0), (10, 59.5)):
        report(runner, hook, iteration, top1)
    log = tiny_run.log_text(runner)
    assert "knn/top1 at iteration 0: 60.00 %" in log
    assert log.count("training makes the features worse") == 1
    assert "knn/top1 is 59.50 %, below the 60.00 % of the initial weights" in log


def test_a_tolerated_drop_is_not(runner):
    hook = in_training(tolerance=1.0)
    report(runner, hook, 0, 60.0)
    report(runner, hook, 5, 59.0)
    assert "worse" not in tiny_run.log_text(runner)


def test_without_a_figure_at_the_start_there_is_nothing_to_compare(runner):
    hook = in_training()
    report(runner, hook, 5, 59.0)
    hook.after_val_epoch(runner, {"accuracy": 1.0})
    assert "worse" not in tiny_run.log_text(runner)


def test_a_run_from_scratch_is_not_compared_with_random_weights(tmp_path):
    runner, hook = tiny_run.build(tmp_path, log_level="INFO"), in_training()
    for iteration, top1 in ((0, 60.0), (5, 59.0)):
        report(runner, hook, iteration, top1)
    log = tiny_run.log_text(runner)
    assert "knn/top1 at iteration 0: 60.00 %" in log
    assert "worse" not in log


def test_a_test_of_a_checkpoint_is_no_start(runner):
    report(runner, HOOKS.build(HOOK), 0, 60.0)
    assert "at iteration 0" not in tiny_run.log_text(runner)


def test_a_resumed_run_compares_with_the_figure_of_the_first(tmp_path):
    trained(tmp_path, load_from=weights(tmp_path))
    resumed = trained(
        tmp_path, resume=True, train_cfg={"type": "mmdino.ResumableTrainLoop", "max_epochs": 3}
    )
    first_log = sorted(tmp_path.glob("*/*.log"))[0].read_text()
    line = next(line for line in first_log.splitlines() if "at iteration 0" in line)
    figure = float(line.split("iteration 0: ")[1].split()[0])
    assert resumed.message_hub.get_info("knn_at_start") == pytest.approx(figure, abs=0.01)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance=-1"):
        HOOKS.build({**HOOK, "tolerance": -1})
