"""Validates SimSiam of mmpretrain alone, then again as two ranks: knn_on_two_ranks.py FOLDER."""

from __future__ import annotations

import sys

import tiny_mmpretrain
import tiny_run
import torch
from mmengine.registry import init_default_scope
from two_ranks import run_on_two_ranks

FOLDER = sys.argv[1]


class UnreadableImages(tiny_run.LabelledImages):
    """Images in whose places ``ImageFolder`` would give the next one, with a note."""

    def __init__(self, size, unreadable, **options):
        super().__init__(size, 7, **options)
        self.unreadable = unreadable

    def get_data_info(self, index):
        return {"img_path": f"{index}.jpg"}

    def __getitem__(self, index):
        if index not in self.unreadable:
            return super().__getitem__(index)
        sample = super().__getitem__((index + 1) % len(self))
        note = {"skipped_paths": (f"{index}.jpg",), "skipped_reasons": ("is empty",)}
        sample["data_samples"].set_metainfo(note)
        return sample


def validate(ranks, **options):
    """Validates with all images, then with three of the bank and two queries unreadable."""
    queries, bank = tiny_run.LabelledImages(13, 7), tiny_run.LabelledImages(29, 7, seed=1)
    whole = validate_on(f"{ranks}", queries, bank, **options)
    queries, bank = UnreadableImages(13, (2, 8)), UnreadableImages(29, (3, 7, 28), seed=1)
    return whole | {"unreadable": validate_on(f"{ranks}_unreadable", queries, bank, **options)}


def validate_on(name, queries, bank, **options):
    runner = tiny_mmpretrain.build(
        f"{FOLDER}/{name}",
        "simsiam",
        val_dataloader=tiny_run.loader(queries, batch_size=3),
        val_cfg={"type": "mmdino.KNNValLoop", "bank_dataloader": tiny_run.loader(bank)},
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
