"""Runs tools/train.py as two ranks on this machine's CPU: FOLDER [arguments of tools/train.py].

torch.distributed.run would do, but mmengine then asks for a GPU of each rank.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from two_ranks import run_on_two_ranks

main = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "train.py"))["main"]
folder, *arguments = sys.argv[1:]
run_on_two_ranks(folder, lambda _: main([*arguments, "--launcher", "pytorch"]))
