"""SwAV's loss with a queue, alone and as two gloo processes: swav_two_ranks.py FOLDER."""

from __future__ import annotations

import sys

import torch
from two_ranks import run_on_two_ranks

from mmdino.models.losses import SwAVLoss

FOLDER = sys.argv[1]
BATCHES = (8, 8, 8, 4, 8)
"""Images of each batch. The queue is full after the second."""


def steps(rank, ranks):
    """What each batch gives a rank, which has every ``ranks``-th image of it."""
    torch.manual_seed(0)
    loss = SwAVLoss(num_prototypes=12, in_channels=6, queue_length=16).double()
    loss.queue.queue_started = True
    rows = []
    for images in BATCHES:
        student = torch.randn(4, images, 6, dtype=torch.float64)[:, rank::ranks].requires_grad_()
        loss.zero_grad()
        value = loss(student, student[:2])["loss"]
        value.backward()
        rows.append(
            {
                "loss": value.detach(),
                "student_grad": student.grad,
                "prototypes_grad": loss.prototypes.weight.grad.clone(),
                "queue": loss.queue.features.clone(),
                "count": loss.queue.count.item(),
            }
        )
    return rows


torch.save(steps(0, 1), f"{FOLDER}/alone.pth")
run_on_two_ranks(FOLDER, lambda rank: torch.save(steps(rank, 2), f"{FOLDER}/{rank}.pth"))
