"""A run killed in the middle of an epoch and resumed equals one never interrupted, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tiny_run
import torch

SCRIPT = '''
"""Trains with everything that could make a resumed run differ; killed at an iteration if told so.

Without a seed in its config the run draws one.
"""
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
                "type": "CheckpointHook", "by_epoch": by_epoch, "interval": 1 if by_epoch else 7,
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
    # Else both would draw the seed that the process they come from had ready.
    np.random.seed()
    train(*arguments, **options)
    os._exit(0)


by_epoch, work_dir, kill_at, checkpoint = json.loads(sys.argv[1])
killed = in_a_process(work_dir, "killed", by_epoch, kill_at=kill_at)
assert killed == -signal.SIGKILL, killed
seed = torch.load(Path(work_dir, checkpoint), weights_only=False)["meta"]["seed"]
assert in_a_process(work_dir, "resumed", by_epoch, resume=True) == 0
assert in_a_process(work_dir, "uninterrupted", by_epoch, seed=seed) == 0
'''

KILL_AT = 9
"""Within the second of three epochs of five iterations."""

STEP_ENDS = (1, 3, 4, 6, 8, 9, 11, 13, 14)
"""Iterations that complete an optimiser step."""

CHECKPOINTS = {"by_iter": ("iter_7.pth", 7), "by_epoch": ("epoch_1.pth", 5)}
"""The last checkpoint before, and its iteration."""


@pytest.fixture(scope="module")
def work_dirs(tmp_path_factory):
    """Folders with the records of a killed, a resumed and an uninterrupted run."""
    script = tmp_path_factory.mktemp("script") / "train.py"
    script.write_text(SCRIPT)
    folders = {style: tmp_path_factory.mktemp(style) for style in CHECKPOINTS}
    processes = []
    for style, (checkpoint, _) in CHECKPOINTS.items():
        arguments = (style == "by_epoch", str(folders[style]), KILL_AT, checkpoint)
        command = [sys.executable, str(script), json.dumps(arguments)]
        processes.append(
            subprocess.Popen(
                command,
                env=tiny_run.script_env(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return folders


def read(folder, name):
    """Rows of iteration, loss and whether the optimiser took a step."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("style", CHECKPOINTS)
def test_losses_and_skipped_steps_are_the_same(work_dirs, style):
    folder, resumed_at = work_dirs[style], CHECKPOINTS[style][1]
    whole = read(folder, "uninterrupted")
    assert [iteration for iteration, _, _ in whole] == list(range(15))
    assert {whole[end][2] for end in STEP_ENDS} == {True, False}, "the scaler skipped some"
    assert read(folder, "killed") == whole[:KILL_AT]
    assert read(folder, "resumed") == whole[resumed_at:]


@pytest.mark.parametrize("style", CHECKPOINTS)
def test_weights_and_optimiser_end_the_same(work_dirs, style):
    resumed, whole = (
        torch.load(work_dirs[style] / f"{name}.pth", weights_only=False)
        for name in ("resumed", "uninterrupted")
    )
    assert resumed["seed"] == whole["seed"]
    for name, tensor in whole["model"].items():
        assert torch.equal(resumed["model"][name], tensor), name
    torch.testing.assert_close(resumed["optimizer"], whole["optimizer"], rtol=0, atol=0)
