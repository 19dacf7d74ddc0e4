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


def tiny_config(folder):
    """Config of a run of two epochs of two iterations, as a tool reads it."""
    (folder / "tiny.py").write_text(
        tiny_tools.PRETRAINING.substitute(configs=tiny_tools.CONFIGS, vit=tiny_tools.VIT)
        + tiny_tools.RUN.replace("ERROR", "INFO")
    )
    cfg = Config.fromfile(folder / "tiny.py")
    cfg.work_dir, cfg.launcher = str(folder / "run"), "none"
    del cfg.default_hooks["training_figure"]
    return cfg


def interrupt(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_stopped_run_has_printed_no_preamble_and_leaves_no_line(tmp_path, monkeypatch, stream):
    cfg = tiny_config(tmp_path)
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


@pytest.mark.parametrize(
    ("package", "backend", "files"),
    [
        ("tensorboard", {"type": "TensorboardVisBackend"}, "events.out.tfevents.*"),
        ("wandb", {"type": "WandbVisBackend", "init_kwargs": {"mode": "offline"}}, "*.wandb"),
        ("mlflow", {"type": "MLflowVisBackend"}, "metrics/loss"),
    ],
)
def test_a_logger_writes_beside_mmengines_own(tmp_path, package, backend, files):
    pytest.importorskip(package, reason=f'pip install "mmdino[{package}]"')
    cfg = tiny_config(tmp_path)
    cfg.visualizer.vis_backends = [{"type": "LocalVisBackend"}, backend]
    train(cfg)
    unlock_folder(cfg.work_dir)
    assert list((tmp_path / "run").glob(f"*/vis_data/**/{files}"))
    assert list((tmp_path / "run").glob("*/vis_data/scalars.json"))
