"""Runs tools/train.py as two ranks on this machine's CPU: FOLDER [arguments of tools/train.py].

torch.distributed.run would do, but mmengine then asks for a GPU of each rank.
"""

import os
import runpy
import sys
from pathlib import Path

from torch.distributed import destroy_process_group, init_process_group

main = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "train.py"))["main"]
folder, *arguments = sys.argv[1:]
other = os.fork()
rank = 0 if other else 1
os.environ["LOCAL_RANK"] = str(rank)
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
main([*arguments, "--launcher", "pytorch"])
destroy_process_group()
if other:
    assert os.waitpid(other, 0)[1] == 0, "rank 1 failed"
