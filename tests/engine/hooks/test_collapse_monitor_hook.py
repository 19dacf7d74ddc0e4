"""The two collapses and what they look like."""

from __future__ import annotations

import math

import pytest
import tiny_run
from mmengine.registry import HOOKS

from mmdino.engine.hooks.collapse_monitor_hook import entropy_collapse, told_collapse

BOUND = math.log(65536)


@pytest.mark.parametrize(
    ("entropy", "kl", "used", "kind"),
    [(0.05, 0.08, 0.03, "one_point"), (0.05, 0.08, 0.1, None), (0.3, 0.15, 0.03, None)],
    ids=["few prototypes", "many prototypes", "soft targets"],
)
def test_few_prototypes_tell_a_collapse_before_the_bound(entropy, kl, used, kind):
    found = entropy_collapse(entropy * BOUND, kl * BOUND, BOUND, margin=0.005, used=used)
    assert found == kind


@pytest.mark.parametrize(
    ("entropy", "kl", "kind"),
    [
        (BOUND, 0.0, "uniform"),
        (BOUND - 0.01, 0.02, "uniform"),
        (0.0, 0.0, "one_point"),
        (0.05, 0.05, "one_point"),
        (5.0, 0.0, None),
        (BOUND, 1.0, None),
        (0.0, 1.0, None),
        (5.0, 6.0, None),
    ],
)
def test_figures_tell_the_collapse(entropy, kl, kind):
    assert entropy_collapse(entropy, kl, BOUND, margin=0.005) == kind


def warnings(work_dir, monitor, loss):
    """Warnings of a run of twelve iterations whose distributions are as sharp as ``loss`` says."""
    runner = tiny_run.build(
        work_dir,
        epochs=4,
        model=tiny_run.vit_model(loss=loss),
        custom_hooks=[
            *tiny_run.hooks(TeacherTempWarmupHook=None),
            {"type": "mmdino.CollapseMonitorHook", **monitor},
        ],
    )
    runner.train()
    return [line for line in tiny_run.log_text(runner).splitlines() if "a collapse to" in line]


UNIFORM_LOSS = {"student_temp": 1e3, "teacher_temp": 1e3}
ONE_POINT_LOSS = {"student_temp": 1e-5, "teacher_temp": 1e-5, "center_momentum": 1.0}


@pytest.mark.parametrize(
    ("targets", "told"),
    [("centered", "CenterUpdateHook runs"), ("softmax", "Nothing keeps"), ("sinkhorn_knopp", None)],
)
def test_advice_is_that_of_the_targets(tmp_path, targets, told):
    """Sharp codes of Sinkhorn-Knopp that the student matches are no collapse."""
    loss = {**ONE_POINT_LOSS, "targets": targets}
    lines = warnings(tmp_path, {"interval": 1, "patience": 2}, loss)
    if told is None:
        assert not lines
    else:
        assert lines
        assert told in lines[0]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (UNIFORM_LOSS, f"their entropy is {math.log(32):.3f} of at most {math.log(32):.3f}"),
        (ONE_POINT_LOSS, "their entropy is 0.0000"),
    ],
    ids=["uniform", "one point"],
)
def test_a_collapsed_run_is_told_so_once(tmp_path, loss, message):
    (line,) = warnings(tmp_path, {"interval": 1, "patience": 2}, loss)
    assert "Iteration 2, since about iteration 1: " in line
    assert message in line
    assert "The head has collapsed, not the features" in line


@pytest.mark.parametrize(("interval", "patience"), [(6, 2), (5, 2)], ids=["at the end", "before"])
def test_on_a_device_the_same_is_told(tmp_path, pretended_device, interval, patience):
    """Of twelve iterations, the last may be that of a check."""
    (line,) = warnings(tmp_path, {"interval": interval, "patience": patience}, UNIFORM_LOSS)
    assert f"Iteration {2 * interval}, since about iteration {interval}: " in line
    assert f"their entropy is {math.log(32):.3f} of at most" in line


def test_patience_and_interval(tmp_path):
    assert warnings(tmp_path / "4 looks", {"interval": 3, "patience": 4}, UNIFORM_LOSS)
    assert not warnings(tmp_path / "3 looks", {"interval": 4, "patience": 4}, UNIFORM_LOSS)


@pytest.fixture
def monitored(tmp_path):
    """A monitor and a function that shows it the metrics of iterations and returns the log."""
    runner = tiny_run.build(tmp_path, epochs=1, custom_hooks=tiny_run.hooks())
    monitor = HOOKS.build({"type": "mmdino.CollapseMonitorHook", "interval": 10, "patience": 3})
    monitor.before_train(runner)

    def show(metrics):
        for iteration, (entropy, kl, spread) in enumerate(metrics):
            runner.train_loop._iter = iteration
            runner.message_hub.update_scalar("train/feature_std", spread)
            values = {"teacher_entropy": entropy, "kl": kl, "feature_std": spread}
            monitor.after_train_iter(runner, 0, outputs={**values, "entropy_bound": BOUND})
        return tiny_run.log_text(runner)

    return show


HEALTHY = (0.9 * BOUND, 1.0, 0.8)


def test_features_that_collapsed_with_the_head_are_told(monitored):
    text = monitored([HEALTHY] * 20 + [(BOUND, 0.0, 0.01)] * 40)
    assert "Iteration 50, since about iteration 30: the targets are uniform" in text
    assert "and all images have nearly the same feature (feature_std is 0.0100, was up to" in text
    assert "The head has collapsed, not the features" not in text
    assert text.count("WARNING") == 1


def test_features_that_collapsed_alone_are_told(monitored):
    text = monitored([HEALTHY] * 20 + [(*HEALTHY[:2], 0.01)] * 40)
    assert "Iteration 50, since about iteration 30: all images have nearly the same feature" in text
    assert "the targets" not in text.split("Iteration 50")[1].split(" Check that ")[0]


def test_a_run_that_recovers_is_told_so(monitored):
    text = monitored([HEALTHY] * 20 + [(0.0, 0.0, 0.8)] * 40 + [HEALTHY] * 20)
    assert "Iteration 70: no sign of a collapse any more." in text


def test_the_log_tells_of_a_collapse(monitored):
    def told(text):
        return told_collapse(line.partition(" WARNING - ")[2] for line in text.splitlines())

    assert told(monitored([HEALTHY] * 20)) is None
    collapse = told(monitored([HEALTHY] * 20 + [(0.0, 0.0, 0.8)] * 40))
    assert (collapse.since, collapse.over) == (30, None)
    assert collapse.found.startswith("the targets assign nearly every view to the same prototype")
    assert told(monitored([HEALTHY] * 20)).over == 10


def test_a_healthy_run_is_left_alone(tmp_path):
    assert not warnings(tmp_path, {"interval": 1, "patience": 1}, {"teacher_temp": 0.2})


@pytest.mark.parametrize(
    "arguments", [{"interval": 0}, {"patience": 0}, {"margin": 0.0}, {"margin": 0.5}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="CollapseMonitorHook got"):
        HOOKS.build({"type": "mmdino.CollapseMonitorHook", **arguments})
