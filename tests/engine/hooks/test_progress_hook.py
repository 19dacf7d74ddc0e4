"""A terminal shows one line with the state of the run; the log file has what it always has."""

from __future__ import annotations

import io
import re
import sys

import pytest
import tiny_run
from mmengine.hooks import Hook

from mmdino.engine.hooks import progress_hook

ERASE, SHOW_CURSOR = "\r\x1b[2K", "\x1b[?25h"


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self):
        return True


class Talk(Hook):
    """Says something in every way, in the second epoch."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 3:
            print("printed")
            print("printed on standard error, as warnings are", file=sys.stderr)
            runner.logger.warning("logged as a warning")
            runner.logger.info("logged as information")

    def after_train(self, runner):
        runner.logger.info("[a summary]")
        runner.logger.warning("logged after training")


def train(work_dir, monkeypatch, terminal, **options):
    """Two epochs of three iterations, with the hook."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_hook, "SECONDS_BETWEEN", 0)
    runner = tiny_run.build(
        work_dir,
        custom_hooks=[*tiny_run.hooks(ProgressHook={}), {"type": Talk}],
        log_level="INFO",
        **options,
    )
    runner.train()
    return runner


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What a terminal was sent during training, and the text of the log file."""
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as monkeypatch:
        work_dir = tmp_path_factory.mktemp("run")
        runner = train(work_dir, monkeypatch, terminal, **tiny_run.validation())
        runner.logger.info("after the end")
    return terminal.getvalue(), tiny_run.log_text(runner)


def test_the_head_says_what_is_trained(shown):
    sent, _ = shown
    head = sent[sent.index(": DINO of") :].splitlines()
    assert re.fullmatch(r": DINO of VisionTransformer \([\d,]+ parameters\) on \w+", head[0])
    assert head[1] == "12 images (RandomViews), 2 epochs of 3 iterations"
    assert head[2].startswith("Effective batch: 4 images x 1 rank(s)")
    assert head[3].startswith("Work dir: /")


def test_the_line_is_replaced_at_each_iteration(shown):
    sent, _ = shown
    for epoch, iteration in [(1, 3), (2, 4), (2, 6)]:
        assert f"{ERASE}epoch {epoch}/2, iteration {iteration}/6, loss " in sent
    assert re.search(r"iteration 6/6, loss [\d.]+, [\d.]+ images/s, 0 s left, k-NN [\d.]+ %", sent)
    assert f"{ERASE}epoch 2/2, iteration 6/6, validation" in sent


@pytest.mark.parametrize(
    "text",
    [
        "printed",
        "printed on standard error, as warnings are",
        "WARNING: logged as a warning",
        r"Epoch 1/2: k-NN [\d.]+ %",
    ],
)
def test_what_is_said_goes_above_the_line(shown, text):
    sent, _ = shown
    assert re.search(rf"{re.escape(ERASE)}{text}\r?\nepoch \d/2", sent)


def test_the_line_is_gone_at_the_end_and_mmengines_lines_go_on(shown):
    sent, _ = shown
    _, _, end = sent.partition("Trained in ")
    assert re.search(r"\x1b\[\?25h\r\x1b\[1A\x1b\[2K[^\x1b]* - INFO - after the end\n$", end)


def test_summaries_after_training_are_printed_as_they_are(shown):
    sent, log = shown
    _, _, end = sent.partition("Trained in ")
    assert "\x1b[2K[a summary]\nWARNING: logged after training\n" in end
    assert "INFO - [a summary]" in log


def test_mmengines_lines_are_in_the_file_alone(shown):
    sent, log = shown
    for text in ("Epoch(train) [2][3/3]", "Epoch(val) [2][3/3]", "logged as information"):
        assert text in log
        assert text not in sent
    assert "WARNING - logged as a warning" in log


def test_without_a_terminal_there_are_mmengines_lines(tmp_path, monkeypatch):
    plain = io.StringIO()
    train(tmp_path, monkeypatch, plain)
    assert "Epoch(train) [2][3/3]" in plain.getvalue()
    assert "\x1b[?25l" not in plain.getvalue()


def test_a_terminal_that_cannot_go_back_has_mmengines_lines(tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress_hook.Console, "is_dumb_terminal", True)
    train(tmp_path, monkeypatch, terminal)
    assert "Epoch(train) [2][3/3]" in terminal.getvalue()
    assert "\x1b[?25l" not in terminal.getvalue()
