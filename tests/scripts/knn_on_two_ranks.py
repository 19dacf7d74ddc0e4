"""Validates SimSiam of mmpretrain alone, then again as two ranks: knn_on_two_ranks.py FOLDER."""

from __future__ import annotations

import sys

import tiny_mmpretrain
import tiny_run
import torch
from mmengine.registry import init_default_scope
from two_ranks import run_on_two_ranks

FOLDER = sys.argv[1]


def validate(ranks, **options):
    runner = tiny_mmpretrain.build(
        f"{FOLDER}/{ranks}",
        "simsiam",
        val_dataloader=tiny_run.loader(tiny_run.LabelledImages(13, 7), batch_size=3),
        val_cfg={
            "type": "mmdino.KNNValLoop",
            "bank_dataloader": tiny_run.loader(tiny_run.LabelledImages(29, 7, seed=1)),
        },
        val_evaluator={"type": "mmdino.KNNMetric", "k": (1, 5, 20)},
        **options,
    )
    metrics = runner.val()
    features, labels = runner.val_loop.fill_bank()
    return {
        "metrics": metrics,
        "features": features,
        "labels": labels,
        "wrapper": type(runner.model).__name__,
        "batches": len(runner.val_loop.bank_dataloader),
    }


def run(rank):
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None}
    seen = validate(2, launcher="pytorch", cfg={"model_wrapper_cfg": wrapper})
    torch.save(seen, f"{FOLDER}/{rank}.pth")


init_default_scope("mmpretrain")
torch.save(validate(1), f"{FOLDER}/alone.pth")
run_on_two_ranks(FOLDER, run)
