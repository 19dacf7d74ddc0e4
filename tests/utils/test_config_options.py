"""``--cfg-options`` that fit a config, and those that do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmengine.runner import FlexibleRunner, Runner

from mmdino.utils.command_line import load_config, tool_parser
from mmdino.utils.config_options import refuse_idle_options

DEMO = str(Path(__file__).parents[2] / "configs" / "dino_demo.py")


def load(*argv):
    return load_config(tool_parser("").parse_args(argv))


def test_options_that_a_runner_does_not_read_are_refused():
    refuse_idle_options({"model_wrapper_cfg.static_graph": True}, Runner)
    refuse_idle_options({"strategy.type": "FSDPStrategy"}, FlexibleRunner)
    with pytest.raises(ValueError, match=r"strategy\.type would change nothing"):
        refuse_idle_options({"strategy.type": "FSDPStrategy"}, Runner)
    with pytest.raises(ValueError, match=r"model_wrapper_cfg\.static_graph would change nothing"):
        refuse_idle_options({"model_wrapper_cfg.static_graph": True}, FlexibleRunner)


OPTIONS = [
    ("max_epochs=3", "max_epochs would change nothing"),
    ("optim_wraper.lr=3", "optim_wraper.lr would change nothing; did you mean optim_wrapper?"),
    ("param_scheduler.7.lr=1", "param_scheduler is a list; expected an index of it (0 to 1), got"),
    ("param_scheduler.first.lr=1", "an index of it (0 to 1), got 'first'"),
    ("model.backbone.patch_size.x=3", "model.backbone.patch_size is 8, which has no keys"),
    ("model.backbone.arch.x.y=3", "model.backbone.arch.x: VisionTransformer has no 'x' (it has em"),
    ("optim_wrapper.lr=0.1", "did you mean optim_wrapper.optimizer.lr"),
    ("randomness.seed=abc", "randomness.seed: got 'abc'; expected a whole number"),
    ("default_hooks.c=None", "default_hooks has no 'c'"),
    (
        "load_from=s3://bucket/x.pth",
        "'s3://bucket/x.pth' cannot be read: expected a path or an http",
    ),
    ("load_from=3", "must be a path or an http(s) URL, got 3"),
]


@pytest.mark.parametrize(("option", "named"), OPTIONS)
def test_an_option_that_does_not_fit_is_explained(option, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        load(DEMO, "--cfg-options", option)


def test_an_argument_of_a_hook_may_be_none():
    cfg = load(
        DEMO,
        "--cfg-options",
        "default_hooks.last_layer_freeze.epochs=None",
        "default_hooks.last_layer_freeze.steps=3",
    )
    assert cfg.default_hooks.last_layer_freeze.epochs is None


def test_options_that_stand_in_each_others_way_are_refused():
    with pytest.raises(ValueError, match="do not fit together"):
        load(DEMO, "--cfg-options", "model.neck=3", "model.neck.type=GlobalAveragePooling")


def test_a_dict_takes_the_place_of_another_value():
    options = ["load_from._delete_=True", "load_from.x=3"]
    with pytest.raises(ValueError, match=r"load_from must be a path .*, got \{'x': 3\}"):
        load(DEMO, "--cfg-options", *options)


@pytest.mark.parametrize("option", ["abc", "=3", "model.x=[1,2"])
def test_an_option_that_is_none_ends_in_one_line(option, capsys):
    with pytest.raises(SystemExit) as found:
        load(DEMO, "--cfg-options", option)
    assert found.value.code == 2
    assert "error: --cfg-options" in capsys.readouterr().err
