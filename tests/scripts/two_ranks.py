"""Two ranks for a script: its process and a fork of it."""

from __future__ import annotations

import os
from collections.abc import Callable

from torch.distributed import destroy_process_group, init_process_group


def run_on_two_ranks(folder: str, run: Callable[[int], None]) -> None:
    """Calls ``run(rank)`` as two ranks that meet in a folder; the fork returns too.

    Raises:
        RuntimeError: In rank 0, if rank 1 failed.
    """
    child = os.fork()
    rank = 0 if child else 1
    os.environ["LOCAL_RANK"] = str(rank)
    init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    run(rank)
    destroy_process_group()
    if child and os.waitpid(child, 0)[1] != 0:
        raise RuntimeError("rank 1 failed")
