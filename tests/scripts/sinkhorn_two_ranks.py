"""Sinkhorn-Knopp on the samples of two gloo processes: sinkhorn_two_ranks.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from two_ranks import run_on_two_ranks

from mmdino.models.losses.targets import sinkhorn_knopp

FOLDER = sys.argv[1]


def run(rank):
    with np.load(Path(__file__).parents[1] / "data/sinkhorn.npz") as arrays:
        found = {
            tokens: sinkhorn_knopp(
                torch.from_numpy(arrays[f"two_ranks/{rank}/{tokens}_logits"]),
                float(arrays["two_ranks/temp"]),
            ).exp()
            for tokens in ("cls", "patch")
        }
    torch.save(found, f"{FOLDER}/{rank}.pth")


run_on_two_ranks(FOLDER, run)
