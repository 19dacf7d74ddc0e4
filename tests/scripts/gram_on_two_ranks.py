"""A run with a Gram teacher of its own as two ranks, replicated and sharded: PROGRAM FOLDER."""

from __future__ import annotations

import sys

import tiny_dinov2
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS, init_default_scope
from mmpretrain.structures import DataSample
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from two_ranks import run_on_two_ranks

FOLDER = sys.argv[1]


class SeededViews(tiny_run.RandomViews):
    """Views with the seeds that masks are drawn from."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample["data_samples"] = DataSample(metainfo={"sample_idx": index})
        return sample


class Recorder(Hook):
    """Records the Gram term of each step and the full state after it."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        state = get_model_state_dict(runner.model, options=StateDictOptions(full_state_dict=True))
        self.rows.append((outputs["gram"].item(), {n: t.clone() for n, t in state.items()}))


def train(name, load_from=None, **options):
    hooks = tiny_run.hooks(LastLayerFreezeHook=None)
    hooks.append(
        {"type": "mmdino.GramAnchorHook", "start": 1, "first_refresh": 1, "refresh_interval": 2}
    )
    cfg = tiny_run.config(
        f"{FOLDER}/{name}",
        model=tiny_dinov2.model(gram={"teacher": {}}),
        batch_size=2,
        dataset=SeededViews(8, torch.get_default_dtype()),
        wrapper={"clip_grad": {"type": "per_network", "max_norm": 0.3}},
        custom_hooks=hooks,
        launcher="pytorch",
        load_from=load_from,
        default_hooks={
            "checkpoint": {"type": "mmdino.CheckpointHook", "interval": 1},
            "checkpoint_match": {"type": "mmdino.CheckpointMatchHook"},
        },
        **options,
    )
    cfg["train_dataloader"]["collate_fn"] = {
        "type": "mmdino.BlockMasks",
        "view_size": tiny_dinov2.VIEW,
        "patch_size": tiny_dinov2.PATCH,
    }
    runner = RUNNERS.get("FlexibleRunner" if "strategy" in options else "Runner")(**cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return recorder.rows


def run(rank):
    sharded = {"strategy": {"type": "mmdino.StudentTeacherFSDPStrategy"}}
    first = f"{FOLDER}/sharded/epoch_1.pth"
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None}
    replicated = {"cfg": {"model_wrapper_cfg": wrapper}}
    seen = {
        "replicated": train("replicated", **replicated),
        "sharded": train("sharded", **sharded),
        "resumed": train("resumed", resume=True, load_from=first, **sharded),
        "started": train("started", load_from=first, **sharded),
    }
    torch.save(seen, f"{FOLDER}/{rank}.pth")


if __name__ == "__main__":
    init_default_scope("mmpretrain")
    torch.set_default_dtype(torch.float64)
    run_on_two_ranks(FOLDER, run)
