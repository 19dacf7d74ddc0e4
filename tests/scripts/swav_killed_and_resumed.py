"""Trains SwAV, is killed while the queue is filled, resumes: swav_killed_and_resumed.py FOLDER."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import tiny_run
import tiny_swav
import torch
from train_killed_and_resumed import Log

FOLDER = Path(sys.argv[1])
KILL_AT = 14
"""Of eight micro-batches an epoch: the checkpoint after the first twelve has a third of a queue."""


def train(name, kill_at=None, resume=False):
    runner = tiny_run.build(
        FOLDER if name != "uninterrupted" else FOLDER / name,
        **tiny_swav.options(
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
    runner.register_hook(Log(FOLDER / f"{name}.jsonl", kill_at))
    runner.train()
    end = {"model": runner.model.state_dict(), "optimizer": runner.optim_wrapper.state_dict()}
    torch.save(end, FOLDER / f"{name}.pth")


def in_a_process(*arguments, **options):
    """Trains in a process of its own and returns what it ended with."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    train(*arguments, **options)
    os._exit(0)


killed = in_a_process("killed", kill_at=KILL_AT)
assert killed == -signal.SIGKILL, killed
checkpoint = torch.load(FOLDER / "iter_12.pth", weights_only=False)["state_dict"]
assert checkpoint["loss_function.queue.count"] == 8
assert in_a_process("resumed", resume=True) == 0
assert in_a_process("uninterrupted") == 0
