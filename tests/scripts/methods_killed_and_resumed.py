"""Trains methods, kills each on its way, resumes it: FOLDER METHOD [METHOD ...]."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import tiny_methods
import tiny_run
import torch
from train_killed_and_resumed import Log

EPOCHS = 3
"""Until SwAV's queue is full and used."""
KILL_AT = 14
"""Of eight micro-batches an epoch: after the first twelve SwAV's queue is a third full."""


def train(folder, method, name, kill_at=None, resume=False):
    runner = tiny_run.build(
        folder / name if name == "uninterrupted" else folder,
        **tiny_methods.options(
            method,
            folder,
            epochs=EPOCHS,
            batch_size=2,
            accumulative_counts=2,
            wrapper={
                "precision": "float16",
                # Skips, then grows: what the scale is depends on all steps before.
                "loss_scale": {
                    "init_scale": 2.0**60,
                    "backoff_factor": 2.0**-50,
                    "growth_interval": 2,
                },
            },
            default_hooks={
                "checkpoint": {"type": "mmdino.CheckpointHook", "by_epoch": False, "interval": 4}
            },
            resume=resume,
        ),
    )
    runner.register_hook(Log(folder / f"{name}.jsonl", kill_at))
    runner.train()
    end = {"model": runner.model.state_dict(), "optimizer": runner.optim_wrapper.state_dict()}
    torch.save(end, folder / f"{name}.pth")


def in_a_process(*arguments, **options):
    """Trains in a process of its own and returns what it ended with."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    train(*arguments, **options)
    os._exit(0)


def main(folder, *methods):
    for method in methods:
        place = Path(folder, method)
        place.mkdir()
        killed = in_a_process(place, method, "killed", kill_at=KILL_AT)
        assert killed == -signal.SIGKILL, (method, killed)
        assert in_a_process(place, method, "resumed", resume=True) == 0, method
        assert in_a_process(place, method, "uninterrupted") == 0, method


if __name__ == "__main__":
    main(*sys.argv[1:])
