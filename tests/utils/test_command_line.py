"""Parser, config and checks of the command-line tools; tests/tools/ has the tools themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mmengine.runner import FlexibleRunner, Runner

from mmdino.config_check.top_level import runner_class
from mmdino.utils.command_line import load_config, progress_bar, require_mmseg, tool_parser


@pytest.fixture
def config(tmp_path):
    """Path of a config in which a hook of mmengine's and two others are switched off."""
    base, child = tmp_path / "base.py", tmp_path / "child.py"
    base.write_text(
        'default_scope = "mmdino"\n'
        'model = dict(type="DINOHead", in_channels=8)\n'
        'default_hooks = dict(logger=dict(type="LoggerHook"),\n'
        '    a=dict(type="IterationSeedHook"), b=dict(type="FiniteLossHook"))\n'
    )
    child.write_text('_base_ = ["base.py"]\ndefault_hooks = dict(logger=None, a=None)')
    return str(child)


def load(*argv):
    return load_config(tool_parser("").parse_args(argv))


def test_missing_mmsegmentation_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmseg.models", None)
    with pytest.raises(ImportError, match=r"needs mmsegmentation.*docs/get_started\.md"):
        require_mmseg()


def test_progress_shows_on_a_terminal_and_keeps_out_of_a_log(monkeypatch, capsys):
    progress_bar(3).update()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress_bar(3).update()
    assert "1/3" in capsys.readouterr().err


def test_runner_is_the_one_that_the_config_names():
    assert runner_class({}) is Runner
    assert runner_class({"runner_type": "FlexibleRunner"}) is FlexibleRunner
    with pytest.raises(ValueError, match="'Other', which is not known"):
        runner_class({"runner_type": "Other"})


@pytest.mark.parametrize("option", ["foo", "=1", "a.=1", ".a=1", "lr"])
def test_an_option_without_key_or_value_is_explained(config, capsys, option):
    with pytest.raises(SystemExit):
        load(config, "--cfg-options", option)
    assert f"--cfg-options {option}: expected KEY=VALUE" in capsys.readouterr().err


def test_hooks_that_are_none_are_dropped_but_for_mmengines(config):
    """mmengine leaves out its own, and would fail an assertion on others."""
    assert load(config).default_hooks == {"logger": None, "b": {"type": "FiniteLossHook"}}
    off = load(config, "--cfg-options", "default_hooks.b=None", "default_hooks.timer=None")
    assert off.default_hooks == {"logger": None, "timer": None}


def test_a_hook_that_a_config_has_not_cannot_be_switched_off(config):
    with pytest.raises(ValueError, match=r"hooks\.c=None would .* has no 'c'\. It has a, b"):
        load(config, "--cfg-options", "default_hooks.c=None")


DEMO = str(Path(__file__).parents[2] / "configs" / "dino_demo.py")
FOLDER = DEMO.replace("dino_demo", "dino_vitt4_cifar10")


def test_missing_checkpoint_to_load_is_named():
    with pytest.raises(FileNotFoundError, match=r"load_from 'none\.pth' does not exist"):
        load(DEMO, "--cfg-options", "load_from=none.pth")


@pytest.mark.parametrize(
    ("folder", "named"),
    [
        ("{}/file", "file' is a file"),
        ("{}/file/below", "cannot be made: '.*file' is a file"),
        ("/proc/below", "cannot be written"),
    ],
)
def test_work_dir_that_cannot_be_is_named(tmp_path, folder, named):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=rf"(?s)The work dir .*{named}.*--work-dir"):
        load(DEMO, "--work-dir", folder.format(tmp_path))


@pytest.mark.parametrize("folder", ["", "a\0b"])
def test_a_work_dir_without_a_possible_name_is_refused(folder):
    with pytest.raises(ValueError, match=r"work.dir.*(is empty|cannot be made)"):
        load(DEMO, "--work-dir", folder)


@pytest.mark.parametrize("place", ["", "run", "a/b"])
def test_output_does_not_go_among_the_images(tmp_path, place):
    images = f"train_dataloader.dataset.data_root={tmp_path}"
    folder = str(tmp_path / place)
    with pytest.raises(ValueError, match=r"lies in the data.*--work-dir"):
        load(FOLDER, "--work-dir", folder, "--cfg-options", images)
    load(FOLDER, "--work-dir", str(tmp_path.parent / "beside"), "--cfg-options", images)


def test_output_may_go_beside_a_list_of_images(tmp_path):
    dataset, folder = "train_dataloader.dataset", str(tmp_path / "run")
    options = [f"{dataset}.data_root={tmp_path}", f"{dataset}.list=a.csv"]
    assert load(FOLDER, "--work-dir", folder, "--cfg-options", *options).work_dir == folder


def test_an_empty_name_is_no_checkpoint():
    with pytest.raises(ValueError, match=r"must be a path or an http\(s\) URL, got ''"):
        load(DEMO, "--cfg-options", "load_from=")


def test_the_check_leaves_no_work_dir_behind(tmp_path):
    load(DEMO, "--work-dir", str(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []


def test_a_tool_names_the_sections_that_it_needs():
    args = tool_parser("").parse_args([DEMO])
    with pytest.raises(ValueError, match="test_cfg: it is missing, and this tool needs it"):
        load_config(args, needs=("test_cfg",))
