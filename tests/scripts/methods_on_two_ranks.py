"""Trains methods alone and as two ranks, replicated and sharded: FOLDER METHOD [METHOD ...]."""

from __future__ import annotations

import sys

import tiny_methods
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS, init_default_scope
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from two_ranks import run_on_two_ranks

FOLDER, *METHODS = sys.argv[1:]
EPOCHS = 3
"""Until SwAV's queue is full and used."""
# Adam would make steps of the rounding errors of biases that a batch norm takes out again.
OPTIMIZER = {"type": "SGD", "lr": 0.2, "momentum": 0.9}


class Recorder(Hook):
    """Records losses, the iteration of the first, and the full state after each."""

    priority = "LOWEST"

    def __init__(self):
        self.losses = []
        self.rows = []
        self.start = None

    def before_train(self, runner):
        self.start = runner.iter

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        state = get_model_state_dict(runner.model, options=StateDictOptions(full_state_dict=True))
        self.losses.append(outputs["loss"].item())
        self.rows.append({name: tensor.clone() for name, tensor in state.items()})


def train(method, way, ranks, **options):
    wrapper = {"optimizer": OPTIMIZER}
    if method == "feature_distillation":
        # Draws follow the rank, and the norm of all gradients is not known where they are sharded.
        options["drop_path_rate"] = 0.0
        wrapper["clip_grad"] = {"type": "per_network", "max_norm": 3.0}
    cfg = tiny_run.config(
        f"{FOLDER}/{method}-{way}",
        **tiny_methods.options(
            method,
            FOLDER,
            epochs=EPOCHS,
            batch_size=4 // ranks,
            accumulative_counts=2,
            wrapper=wrapper,
            **options,
        ),
        launcher="none" if ranks == 1 else "pytorch",
    )
    runner = RUNNERS.get("FlexibleRunner" if "strategy" in options else "Runner")(**cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return {"losses": recorder.losses, "rows": recorder.rows, "start": recorder.start}


def on_two_ranks(method):
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None}
    sharded = {"strategy": {"type": "mmdino.StudentTeacherFSDPStrategy"}}
    checkpoint = {"resume": True, "load_from": f"{FOLDER}/{method}-sharded/epoch_2.pth"}
    return {
        "replicated": train(method, "replicated", 2, cfg={"model_wrapper_cfg": wrapper}),
        "sharded": train(method, "sharded", 2, **sharded),
        "resumed": train(method, "resumed", 2, **sharded, **checkpoint),
    }


def run(rank):
    torch.save({method: on_two_ranks(method) for method in METHODS}, f"{FOLDER}/{rank}.pth")


if __name__ == "__main__":
    init_default_scope("mmpretrain")
    torch.set_default_dtype(torch.float64)
    alone = {method: train(method, "alone", 1) for method in METHODS}
    torch.save(alone, f"{FOLDER}/alone.pth")
    run_on_two_ranks(FOLDER, run)
