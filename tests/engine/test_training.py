"""What a training prints at its start, and what it leaves of a terminal that it is stopped on."""

from __future__ import annotations

import io
import sys

import pytest
import tiny_tools
from mmengine.config import Config

from mmdino.engine.hooks import ThroughputHook
from mmdino.engine.training import train
from mmdino.utils.folder_lock import unlock_folder

PREAMBLE = ("System environment:", "Config:", "Hooks will be executed in the following order:")


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self):
        return True


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_stopped_run_has_printed_no_preamble_and_leaves_no_line(tmp_path, monkeypatch, stream):
    (tmp_path / "tiny.py").write_text(
        tiny_tools.PRETRAINING.substitute(configs=tiny_tools.CONFIGS, vit=tiny_tools.VIT)
        + tiny_tools.RUN.replace("ERROR", "INFO")
    )
    cfg = Config.fromfile(tmp_path / "tiny.py")
    cfg.work_dir, cfg.launcher = str(tmp_path / "run"), "none"
    del cfg.default_hooks["training_figure"]
    output = stream()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", output)
    # Between the line's first state and the next.
    monkeypatch.setattr(ThroughputHook, "after_train_iter", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(cfg)
    unlock_folder(cfg.work_dir)
    (log,) = (tmp_path / "run").glob("*/*.log")
    written, printed = log.read_text(), output.getvalue()
    for text in PREAMBLE:
        assert text in written
        assert text not in printed
    assert "Effective batch: 4 images" in written
    assert "Effective batch: 4 images" in printed
    assert sys.stdout is output
    if stream is Terminal:
        assert "epoch 1/2, iteration 1/4, loss" in printed
        assert printed.endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
