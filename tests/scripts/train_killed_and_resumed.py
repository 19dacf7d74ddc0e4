"""Trains with everything that could make a resumed run differ; optionally kills itself on the way.

Without a seed in its config the run draws one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import tiny_run
import torch
from mmengine.hooks import Hook


class Log(Hook):
    """Writes losses as they come, draws random numbers in validation, kills."""

    priority = "LOWEST"

    def __init__(self, path, kill_at):
        self.path = path
        self.kill_at = kill_at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs["loss"].item()
        with open(self.path, "a") as file:
            print(json.dumps([runner.iter, loss, runner.optim_wrapper.step_taken]), file=file)
        if runner.iter + 1 == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        random.random(), np.random.random(batch_idx + 7), torch.rand(5)


def train(work_dir, name, by_epoch, kill_at=None, seed=None, resume=False):
    work_dir = Path(work_dir)
    model = tiny_run.vit_model()
    model["backbone"]["drop_path_rate"] = 0.5
    model["head"]["use_bn"] = True
    runner = tiny_run.build(
        work_dir,
        model=model,
        batch_size=2,
        epochs=3,
        # Five micro-batches an epoch: the last step of each has one.
        dataset=tiny_run.RandomViews(10),
        accumulative_counts=2,
        wrapper={
            "precision": "float16",
            # Skips, then grows: what the scale is depends on all steps before.
            "loss_scale": {"init_scale": 2.0**60, "backoff_factor": 2.0**-50, "growth_interval": 2},
        },
        default_hooks={
            "checkpoint": {
                "type": "mmdino.CheckpointHook",
                "by_epoch": by_epoch,
                # The sixth micro-batch is the first of two of its step: the checkpoint waits.
                "interval": 1 if by_epoch else 6,
            },
        },
        **tiny_run.validation(),
        randomness={"seed": seed},
        resume=resume,
    )
    # mmengine keeps the workers of a loader over epochs if told so.
    runner._train_dataloader |= {"num_workers": 1, "persistent_workers": not by_epoch}
    runner.register_hook(Log(work_dir / f"{name}.jsonl", kill_at))
    runner.train()
    end = {
        "seed": runner.seed,
        "model": runner.model.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
    }
    torch.save(end, work_dir / f"{name}.pth")


def in_a_process(*arguments, **options):
    """Trains in a process of its own and returns what it ended with."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    # Without this both would draw the seed that follows in the state of their parent.
    np.random.seed()
    train(*arguments, **options)
    os._exit(0)


def main(by_epoch, work_dir, kill_at, checkpoint):
    killed = in_a_process(work_dir, "killed", by_epoch, kill_at=kill_at)
    assert killed == -signal.SIGKILL, killed
    seed = torch.load(Path(work_dir, checkpoint), weights_only=False)["meta"]["seed"]
    assert in_a_process(work_dir, "resumed", by_epoch, resume=True) == 0
    assert in_a_process(work_dir, "uninterrupted", by_epoch, seed=seed) == 0


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
