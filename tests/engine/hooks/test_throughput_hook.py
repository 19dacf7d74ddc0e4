"""Throughput, and the fraction of the time that waits for data."""

from __future__ import annotations

import re
from itertools import cycle

import pytest
import tiny_dinov2
import tiny_run
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmdino.models.selfsup import small_batch

ADVICE = "of the time is spent waiting for data. Raise train_dataloader.num_workers"
HALF_WAITING = [(0.2, 0.1)]
"""Seconds of an iteration, and those of them that wait for data."""


class ChosenTimes(Hook):
    """Takes the place of mmengine's timer and logs chosen times, over and over.

    Args:
        times: Pairs of ``time`` and ``data_time`` in seconds.
    """

    def __init__(self, times):
        self.times = cycle(times)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        seconds, waiting = next(self.times)
        runner.message_hub.update_scalar("train/time", seconds)
        runner.message_hub.update_scalar("train/data_time", waiting)


def train(work_dir, times, **arguments):
    """Six iterations with a batch of 4."""
    runner = tiny_run.build(
        work_dir,
        default_hooks={
            "timer": ChosenTimes(times),
            "logger": {"type": "LoggerHook", "interval": 1},
        },
        custom_hooks=tiny_run.hooks(ThroughputHook=arguments),
        log_level="INFO",
    )
    runner.train()
    assert runner.iter == 6
    return runner


def test_metrics_are_those_of_the_timer(tmp_path):
    times = [(0.9, 0.8), (0.9, 0.1), (0.9, 0.5), (0.9, 0.1), (0.3, 0.06), (0.5, 0.04)]
    runner = train(tmp_path, times, window=2)
    hub = runner.message_hub
    seconds, waiting = (hub.get_scalar(f"train/{name}").mean(2) for name in ("time", "data_time"))
    assert hub.get_scalar("train/images_per_s").current() == pytest.approx(4 / seconds)
    assert hub.get_scalar("train/images_per_s").current() == pytest.approx(10)
    assert hub.get_scalar("train/data_fraction").current() == pytest.approx(waiting / seconds)
    assert hub.get_scalar("train/data_fraction").current() == pytest.approx(0.125)
    printed = r"images_per_s: \d+\.\d+ .*data_fraction: 0\.\d+"
    assert len(re.findall(printed, tiny_run.log_text(runner))) == 6


@pytest.mark.parametrize("window", [2, 6])
def test_advice_is_given_once_where_the_network_waits(tmp_path, window):
    runner = train(tmp_path, HALF_WAITING, window=window)
    assert tiny_run.log_text(runner).count(f"50% {ADVICE}") == 1


@pytest.mark.parametrize("arguments", [{"window": 7}, {"window": 2, "advise_above": 0.51}])
def test_no_advice_before_the_window_is_full_nor_below_the_fraction(tmp_path, arguments):
    assert ADVICE not in tiny_run.log_text(train(tmp_path, HALF_WAITING, **arguments))


@pytest.mark.parametrize(
    "arguments", [{"window": 0}, {"advise_above": 1.5}, {"advise_above": -0.1}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"at least [01]"):
        HOOKS.build({"type": "mmdino.ThroughputHook", **arguments})


@pytest.mark.parametrize(("rule", "peak"), [("linear", "0.008"), ("sqrt", "0.005657")])
def test_peak_rate_is_that_of_the_rule_for_the_batch(tmp_path, rule, peak):
    optimizer = {"type": "AdamW", "lr": 0.004}
    runner = tiny_run.build(
        tmp_path,
        wrapper={"optimizer": optimizer, "paramwise_cfg": {"batch_rule": rule}},
        auto_scale_lr={"enable": True, "base_batch_size": 2},
        log_level="INFO",
        epochs=1,
    )
    runner.train()
    assert f"x 1 micro-batch(es) = 4. Peak learning rate: {peak}." in tiny_run.log_text(runner)


@pytest.mark.parametrize(("least", "warned"), [(4, False), (5, True)])
def test_the_start_of_a_dinov2_run_warns_of_a_small_batch_once(
    tmp_path, monkeypatch, least, warned
):
    monkeypatch.setattr(small_batch, "LEAST_IMAGES", least)
    options = tiny_dinov2.run("dinov2_sinkhorn_shared", images=4, epochs=2)
    runner = tiny_run.build(
        tmp_path, batch_size=2, accumulative_counts=2, log_level="INFO", **options
    )
    runner.train()
    log = tiny_run.log_text(runner)
    assert log.count("A batch of 4 images is small for DINOv2") == warned
    assert log.count("Sinkhorn-Knopp spreads so few samples over 32 prototypes") == warned
    # Accumulation is said by itself, once for all losses that compare images.
    assert log.count("compares the images of a batch, and with") == 1
