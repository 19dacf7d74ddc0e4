"""What the user can mend is told from what is ours to mend, and each ends a tool in its way."""

from __future__ import annotations

import errno
import os
import pty
import re
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS, LOOPS, MODELS, OPTIMIZERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmdino.utils import tool_errors
from mmdino.utils.command_line import existing_file
from mmdino.utils.tool_errors import LONGEST, ToolParser, run_tool, user_message

HERE = Path(__file__).parent


def refuse():
    raise ValueError(
        "size=0 is not allowed:\n  take 1 or more"  # with a line break, and on lines of its own
    )


def refuse_because():
    try:
        int("x")
    except ValueError as error:
        raise TypeError("no number") from error


def break_promise():
    assert not HERE.exists(), "never true"


def open_folder():
    HERE.open()


def fill_disk():
    with open("/dev/full", "w") as file:
        file.write("x")


def lose_connection():
    raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")


def fill_disk_with_torch():
    torch.save(torch.zeros(10), "/dev/full")


def rename():
    with tempfile.NamedTemporaryFile() as file:
        os.rename(file.name, HERE)


def lose_worker():
    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


class Broken(Dataset):
    """Fails on its only image."""

    def __init__(self, fail):
        self.fail = fail

    def __len__(self):
        return 1

    def __getitem__(self, index):
        self.fail()


def load(fail):
    """Fails in a worker of a loader."""
    return lambda: list(DataLoader(Broken(fail), num_workers=1))


def parse_number():
    return int("x")


def message(fail, tool_folder=HERE):
    """What the user is told about the error of a function."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        fail()
    return user_message(caught.value, tool_folder)


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (refuse, "size=0 is not allowed: take 1 or more"),
        (refuse_because, "no number"),
        (lambda: existing_file("no.pth", "checkpoint"), "The checkpoint 'no.pth' does not exist."),
        (load(refuse), "size=0 is not allowed: take 1 or more"),
        (load(refuse_because), "no number"),
    ],
)
def test_what_this_project_raises_is_for_the_user(fail, expected):
    assert message(fail) == expected


class Refusing(Hook):
    def before_train(self, runner):
        raise TypeError("no teacher to move")


class Failing(Hook):
    def before_train(self, runner):
        len(3)


def call(hook):
    """Calls a hook as a run does."""
    runner = Runner.__new__(Runner)
    runner._hooks = [hook]
    runner.call_hook("before_train")


def test_a_hooks_type_error_is_told_as_it_was_raised():
    assert message(lambda: call(Refusing())) == "no teacher to move"
    assert message(lambda: call(Failing())) is None


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (open_folder, f"Is a directory: {HERE}: a folder is where a file is needed"),
        (fill_disk, "No space left on device: free some space, or write to another disk"),
        (lambda: (HERE / "none").read_text(), f"No such file or directory: {HERE}/none"),
        (fill_disk_with_torch, "a file could not be written, .*: free some space"),
        (rename, f"Is a directory: {HERE}"),
        (load(open_folder), f"[Errno {errno.EISDIR}] Is a directory: '{HERE}'"),
        (lambda: __import__("no_such_package"), "No module named 'no_such_package': install it."),
        (lambda: torch.empty(2**60), "out of memory: .* a smaller network .*can't allocate memory"),
        (lose_connection, "no connection to another process of this run, .*closed by peer"),
        (lose_worker, r"a process that loads images was ended; .*num_workers.*\(pid 7\)"),
    ],
)
def test_what_the_system_lacks_is_for_the_user(fail, expected):
    assert re.match(expected.replace("[Errno", r"\[Errno"), message(fail, Path("elsewhere")))


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        (
            lambda: OPTIMIZERS.build({"type": "SGD", "lr": -1, "params": [torch.zeros(1)]}),
            "SGD: Invalid learning rate: -1",
        ),
        (
            lambda: HOOKS.build({"type": "mmdino.EMATeacherHook", "momentm": 0.9}),
            "EMATeacherHook.__init__() got an unexpected keyword argument 'momentm'",
        ),
        (lambda: HOOKS.build({"type": "NoHook"}), "NoHook is not in the mmpretrain::hook registry"),
        (
            lambda: OPTIMIZERS.build({"type": "SGD", "lr": "abc", "params": [torch.zeros(1)]}),
            "SGD: '<' not supported between instances of 'str' and 'float'",
        ),
        (lambda: HOOKS.build("NoHook"), "TypeError: cfg should be a dict"),
        (
            lambda: MODELS.build({"type": "ResNet", "depth": 7}),
            "ResNet: invalid depth 7 for resnet",
        ),
    ],
)
def test_what_others_refuse_of_a_config_is_for_the_user(fail, expected):
    told = message(fail)
    assert expected in told
    assert told.endswith("(--debug shows where)")


def test_what_a_config_has_asserted_is_quoted():
    loop = {
        "type": "EpochBasedTrainLoop",
        "runner": None,
        "dataloader": torch.utils.data.DataLoader([0]),
        "max_epochs": 1,
        "dynamic_intervals": 5,
    }
    expected = "EpochBasedTrainLoop: assert is_list_of(dynamic_interval_list, tuple)"
    assert expected in message(lambda: LOOPS.build(loop))


def test_a_message_of_another_package_has_a_limit():
    told = message(lambda: MODELS.build({"type": "ResNet", "depth": "7" * 100_000}))
    assert LONGEST < len(told) < 2 * LONGEST
    assert told.endswith(" ... (--debug shows where)")


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("The config has 2 mistakes:\n  a: x\n  b: y", "The config has 2 mistakes: a: x; b: y"),
        ("It is wrong.\nMend it.", "It is wrong. Mend it."),
    ],
)
def test_lines_are_joined(lines, line):
    def fail():
        raise ValueError(lines)

    assert message(fail) == line


@pytest.mark.parametrize(
    "fail",
    [
        parse_number,
        break_promise,
        load(parse_number),
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: torch.nn.Linear(2, 2).load_state_dict({}),
        lambda: {}["key"],
        lambda: __import__("mmdino.no_such_module"),
    ],
)
def test_what_is_ours_to_mend_has_no_message(fail):
    assert message(fail) is None


def test_another_projects_errors_are_not_ours():
    assert message(refuse, Path("elsewhere")) is None


def end(monkeypatch, main, *arguments, **environment):
    """Runs a tool to its end and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["tool.py", *arguments])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as exit:
        run_tool(main)
    return exit.value.code


def test_success_ends_with_code_0(monkeypatch):
    assert not end(monkeypatch, lambda: None)


def test_the_users_error_is_one_line(monkeypatch, capsys):
    assert end(monkeypatch, refuse) == 2
    assert capsys.readouterr().err == "error: size=0 is not allowed: take 1 or more\n"


def test_debug_shows_the_traceback_before_the_line(monkeypatch, capsys):
    assert end(monkeypatch, refuse, "--debug") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error: size=0 is not allowed: take 1 or more"


def test_every_tool_takes_debug_which_is_no_setting():
    parser = ToolParser()
    assert "--debug" in parser.format_help()
    assert vars(parser.parse_args([])) == {}
    parser.parse_args(["--debug"])


def test_our_error_is_raised_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises(ValueError, match="invalid literal"):
        run_tool(parse_number)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_an_interrupted_tool_says_so_once(monkeypatch, capsys, rank):
    def interrupt():
        raise KeyboardInterrupt

    assert end(monkeypatch, interrupt, RANK=rank) == 130
    assert capsys.readouterr().err == ("interrupted\n" if rank == "0" else "")


@pytest.mark.parametrize(
    ("rank", "fail", "waits"), [("0", refuse, 0), ("1", refuse, 1), ("0", lose_connection, 1)]
)
def test_a_rank_waits_where_another_has_the_better_message(monkeypatch, capsys, rank, fail, waits):
    """Its launcher may end it in the meantime; if not, it tells."""
    events = []
    monkeypatch.setattr(tool_errors.time, "sleep", events.append)
    assert end(monkeypatch, fail, RANK=rank) == 2
    assert len(events) == waits
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("fail", "last"), [(refuse, "error: size=0"), (parse_number, "ValueError")]
)
def test_the_log_of_a_run_has_the_error_once(monkeypatch, tmp_path, capsys, fail, last):
    log = tmp_path / "run.log"
    MMLogger.get_instance(f"run-{fail.__name__}", log_file=str(log))
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises((SystemExit, ValueError)):
        run_tool(fail)
    written = log.read_text()
    assert written.count(last) == 1
    assert ("Traceback" in written) is (fail is parse_number)
    assert last not in capsys.readouterr().out


def test_the_message_does_not_follow_a_progress_bar_on_its_line(monkeypatch):
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        stderr.write("[>>   ] 1/3")
        assert end(monkeypatch, refuse) == 2
        stderr.flush()
        shown = os.read(controller, 1000).decode()
    os.close(controller)
    assert shown.splitlines() == ["[>>   ] 1/3", "error: size=0 is not allowed: take 1 or more"]
