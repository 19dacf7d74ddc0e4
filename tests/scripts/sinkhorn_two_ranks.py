"""Sinkhorn-Knopp on the samples of two gloo processes: sinkhorn_two_ranks.py FOLDER."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch.distributed import destroy_process_group, init_process_group

from mmdino.models.losses.targets import sinkhorn_knopp

folder = sys.argv[1]
other = os.fork()
rank = 0 if other else 1
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
with np.load(Path(__file__).parents[1] / "data/sinkhorn.npz") as arrays:
    found = {
        tokens: sinkhorn_knopp(
            torch.from_numpy(arrays[f"two_ranks/{rank}/{tokens}_logits"]),
            float(arrays["two_ranks/temp"]),
        ).exp()
        for tokens in ("cls", "patch")
    }
torch.save(found, f"{folder}/{rank}.pth")
destroy_process_group()
if other:
    assert os.waitpid(other, 0)[1] == 0, "rank 1 failed"
