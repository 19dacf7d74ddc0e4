"""Sums and rows of two gloo ranks: collectives_on_two_ranks.py FOLDER."""

from __future__ import annotations

import sys

import torch
from two_ranks import run_on_two_ranks

from mmdino.models.layers import gather, gather_with_grad, own_rows, sum_over_ranks

FOLDER = sys.argv[1]


def run(rank):
    x = torch.full((2,), rank + 1.0, requires_grad=True)
    total = sum_over_ranks(x)
    loss = (rank + 1) * total.pow(3).sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)

    whole = torch.arange(12.0).view(4, 3)
    columns = whole[2 * rank : 2 * rank + 2].T.contiguous().requires_grad_()
    rows = gather_with_grad(columns.T)
    ((rank + 1) * rows.square().sum()).backward()
    found = {
        "sum": (total.detach(), gradient.detach(), second),
        "gather": gather(columns.T),
        "gather_with_grad": rows.detach(),
        "gradient": columns.grad.T,
        "own": rows.detach()[own_rows(2)],
    }
    torch.save(found, f"{FOLDER}/{rank}.pth")


run_on_two_ranks(FOLDER, run)
