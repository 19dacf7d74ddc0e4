"""Speed, and the share of it that waits for data."""

from __future__ import annotations

import re
import time

import pytest
import tiny_run
from mmengine.registry import HOOKS

ADVICE = "of the time goes into waiting for data. Raise train_dataloader.num_workers"


class SlowViews(tiny_run.RandomViews):
    """Views that take longer than training on them."""

    def __getitem__(self, index):
        time.sleep(0.05)
        return super().__getitem__(index)


def train(work_dir, dataset, **arguments):
    runner = tiny_run.build(
        work_dir,
        dataset=dataset,
        custom_hooks=tiny_run.hooks(ThroughputHook=arguments),
        log_level="INFO",
    )
    runner.train()
    return runner


def test_figures_are_those_of_the_timer(tmp_path):
    runner = train(tmp_path, tiny_run.RandomViews(), window=2)
    hub = runner.message_hub
    seconds, waiting = (hub.get_scalar(f"train/{name}").mean(2) for name in ("time", "data_time"))
    assert hub.get_scalar("train/images_per_s").current() == pytest.approx(4 / seconds)
    assert hub.get_scalar("train/data_share").current() == pytest.approx(waiting / seconds)
    printed = r"images_per_s: \d+\.\d+ .*data_share: 0\.\d+"
    assert len(re.findall(printed, tiny_run.log_text(runner))) == 6


def test_advice_is_given_once_where_the_network_waits(tmp_path):
    runner = train(tmp_path, SlowViews(8), window=2)
    assert tiny_run.log_text(runner).count(ADVICE) == 1


def test_no_advice_before_the_window_is_full_nor_below_the_share(tmp_path):
    for name, arguments in (("window", {"window": 5}), ("share", {"advise_above": 1.0})):
        runner = train(tmp_path / name, SlowViews(8), **arguments)
        assert ADVICE not in tiny_run.log_text(runner)


@pytest.mark.parametrize(
    "arguments", [{"window": 0}, {"advise_above": 1.5}, {"advise_above": -0.1}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="at least 1 iteration, the share within"):
        HOOKS.build({"type": "mmdino.ThroughputHook", **arguments})
