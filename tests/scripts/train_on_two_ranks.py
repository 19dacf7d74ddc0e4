"""Trains alone, then again as two ranks: train_on_two_ranks.py FOLDER."""

from __future__ import annotations

import sys

import tiny_run
import torch
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from two_ranks import run_on_two_ranks

BATCH_SIZE = 8
FOLDER = sys.argv[1]


def distributed(ranks, **options):
    """Config of a distributed run; mmengine's default for it is for accelerators."""
    if ranks == 1:
        return {}
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None, **options}
    return {"launcher": "pytorch", "cfg": {"model_wrapper_cfg": wrapper}}


class SkippingViews(tiny_run.RandomViews):
    """Reports a skipped image with every fourth sample."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index % 4 == 3:
            skipped = [f"images/broken_{int(index)}.jpg"]
            sample["data_samples"].set_metainfo({"skipped_paths": skipped})
        return sample


def train(name, model, ranks, counts=1, broadcast_buffers=False, **options):
    runner = tiny_run.build(
        f"{FOLDER}/{name}-{ranks}",
        model=model,
        batch_size=BATCH_SIZE // ranks // counts,
        accumulative_counts=counts,
        dataset=SkippingViews(2 * BATCH_SIZE, torch.get_default_dtype()),
        **distributed(ranks, broadcast_buffers=broadcast_buffers),
        **options,
    )
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.train()
    network = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return {
        "wrapper": type(runner.model).__name__,
        "rows": recorder.rows,
        "end": network.state_dict(),
        "unreadable": runner.message_hub.get_info("unreadable_images"),
    }


def validate(ranks):
    runner = tiny_run.build(
        f"{FOLDER}/knn-{ranks}",
        val_dataloader=tiny_run.loader(tiny_run.LabelledImages(13, 7), batch_size=3),
        val_cfg={
            "type": "mmdino.KNNValLoop",
            "bank_dataloader": tiny_run.loader(tiny_run.LabelledImages(29, 7, seed=1)),
        },
        val_evaluator={"type": "mmdino.KNNMetric", "k": (1, 5, 20)},
        **distributed(ranks),
    )
    return {"metrics": runner.val(), "bank": runner.val_loop.fill_bank()}


def all_runs(ranks):
    return {
        "vit": train("vit", tiny_run.vit_model(), ranks),
        "accumulating": train(
            "accumulating", tiny_run.vit_model(), ranks, counts=ranks, broadcast_buffers=True
        ),
        "resnet": train("resnet", tiny_run.resnet_model(), ranks),
        "knn": validate(ranks),
    }


def run(rank):
    seen = all_runs(2)
    torch.set_default_dtype(torch.float32)
    model = tiny_run.vit_model()
    model["head"]["use_bn"] = True
    seen["bfloat16"] = train(
        "bfloat16",
        model,
        2,
        wrapper={"precision": "bfloat16"},
    )
    torch.save(seen, f"{FOLDER}/{rank}.pth")


if __name__ == "__main__":
    init_default_scope("mmpretrain")
    torch.set_default_dtype(torch.float64)
    torch.save(all_runs(1), f"{FOLDER}/alone.pth")
    run_on_two_ranks(FOLDER, run)
