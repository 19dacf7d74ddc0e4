"""Each loss in one process and, with half the images each, in two: losses_on_two_ranks.py FOLDER.

Saves the mean value over the ranks and the gradients that DistributedDataParallel gives.
"""

from __future__ import annotations

import sys

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from two_ranks import run_on_two_ranks

FOLDER = sys.argv[1]
BATCH_SIZE, WIDTH = 6, 8
STOPPED = ("BYOLLoss", "SimSiamLoss", "MoCoV3Loss")
LOSSES = {
    **{name: {"type": f"mmdino.{name}"} for name in (*STOPPED, "BarlowTwinsLoss", "SimCLRLoss")},
    "SimCLRLoss of all pairs": {"type": "mmdino.SimCLRLoss", "pairs": "all"},
}


class Comparison(nn.Module):
    """Head, predictor where the targets are stopped, and loss, as in StudentTeacher."""

    def __init__(self, loss):
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(WIDTH, WIDTH).double()
        self.predictor = nn.Identity()
        if loss["type"].removeprefix("mmdino.") in STOPPED:
            self.predictor = nn.Linear(WIDTH, WIDTH).double()
        self.loss = MODELS.build(loss)

    def forward(self, features):
        outputs = self.head(features)
        return self.loss(self.predictor(outputs), outputs[:2])


def compare(model, features):
    """Values and gradients, both those of the whole batch after an average over the ranks."""
    found = model(features)
    found["loss"].backward()
    gradients = {
        name.removeprefix("module."): parameter.grad for name, parameter in model.named_parameters()
    }
    return {name: value.detach() for name, value in found.items()}, gradients


def features(num_views):
    generator = torch.Generator().manual_seed(0)
    shape = (num_views, BATCH_SIZE, WIDTH)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


CASES = [(name, num_views) for name in LOSSES for num_views in (2, 5)]
torch.save(
    {case: compare(Comparison(LOSSES[case[0]]), features(case[1])) for case in CASES},
    f"{FOLDER}/alone.pth",
)


def run(rank):
    images = slice(rank * BATCH_SIZE // 2, (rank + 1) * BATCH_SIZE // 2)
    found = {}
    for name, num_views in CASES:
        model = DistributedDataParallel(Comparison(LOSSES[name]))
        found[name, num_views] = compare(model, features(num_views)[:, images])
    torch.save(found, f"{FOLDER}/{rank}.pth")


run_on_two_ranks(FOLDER, run)
