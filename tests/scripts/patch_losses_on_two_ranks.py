"""The losses of patches and of class tokens on two gloo processes and on one.

patch_losses_on_two_ranks.py FOLDER saves what each rank and a single process find. The ranks have
different numbers of masked patches, in one case none.
"""

from __future__ import annotations

import sys

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from two_ranks import run_on_two_ranks

from mmdino.models.layers import WeightNormLinear

FOLDER = sys.argv[1]
K, WIDTH, CROPS, IMAGES = 16, 8, 3, 4
COUNTS = {"different": (9, 4), "none": (5, 0)}
PATCH_LOSSES = {
    f"{targets}, {chunk}": {"targets": targets, "chunk": chunk}
    for targets in ("centered", "sinkhorn_knopp")
    for chunk in (None, 4)
}
KOLEO = {
    "nearest": {},
    "two nearest": {"top_k": 2},
    "groups": {"group_size": 2},
}


class PatchHead(nn.Module):
    """A last layer and the loss, as in the model."""

    def __init__(self, options):
        super().__init__()
        torch.manual_seed(1)
        self.layer = WeightNormLinear(WIDTH, K, train_gain=True).double()
        self.loss = MODELS.build({"type": "mmdino.IBOTLoss", "num_prototypes": K, **options})
        self.loss.double()

    def forward(self, features, teacher_logits, weights):
        lazy = self.loss.accepts_lazy_logits
        logits = self.layer.lazy(features) if lazy else self.layer(features)
        return self.loss(logits, teacher_logits, weights)


class Spread(nn.Module):
    """A linear layer and the loss of class tokens."""

    def __init__(self, options):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(WIDTH, WIDTH).double()
        self.loss = MODELS.build({"type": "mmdino.KoLeoLoss", "over_ranks": True, **options})

    def forward(self, features):
        return self.loss(self.layer(features))


def gradients(model):
    return {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}


def patches(counts):
    """Features, teacher logits and weights of the masked patches of CROPS crops of each rank."""
    generator = torch.Generator().manual_seed(0)
    draw = {"dtype": torch.float64, "generator": generator}
    features = functional.normalize(torch.randn(sum(counts), WIDTH, **draw), dim=-1)
    weights = torch.rand(sum(counts), **draw) / CROPS
    return [
        list(part)
        for part in zip(
            *(x.split(counts) for x in (features, torch.randn(sum(counts), K, **draw), weights)),
            strict=True,
        )
    ]


def train(model, arguments, ranks=1):
    """Loss, gradients, and the centre after the step, which sums over the ranks early or late."""
    loss = getattr(model, "module", model).loss
    loss.last_of_step = loss.accepts_lazy_logits
    found = model(*arguments)
    (found["loss"] / ranks).backward()
    if loss.needs_center_update:
        loss.update_center()
    return found["loss"].detach() / ranks, gradients(model), loss.center


def spread(model, features):
    found = model(features)
    found["loss"].backward()
    return {name: value.detach() for name, value in found.items()}, gradients(model)


CASES = [(name, counts) for name in PATCH_LOSSES for counts in COUNTS]
tokens = torch.randn(
    2, 2 * IMAGES, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
)
alone = {}
for name, counts in CASES:
    parts = zip(*patches(COUNTS[counts]), strict=True)
    alone[name, counts] = train(PatchHead(PATCH_LOSSES[name]), [torch.cat(x) for x in parts], 2)
for counts in COUNTS:
    of_ranks = [logits.mean(0) for _, logits, _ in patches(COUNTS[counts]) if len(logits)]
    alone["mean", counts] = torch.stack(of_ranks).mean(0, keepdim=True)
for name, options in KOLEO.items():
    alone[name] = spread(Spread(options), tokens)
torch.save(alone, f"{FOLDER}/alone.pth")


def run(rank):
    found = {}
    for name, counts in CASES:
        model = DistributedDataParallel(PatchHead(PATCH_LOSSES[name]))
        found[name, counts] = train(model, patches(COUNTS[counts])[rank])
    for name, options in KOLEO.items():
        images = slice(rank * IMAGES, (rank + 1) * IMAGES)
        found[name] = spread(DistributedDataParallel(Spread(options)), tokens[:, images])
    torch.save(found, f"{FOLDER}/{rank}.pth")


run_on_two_ranks(FOLDER, run)
