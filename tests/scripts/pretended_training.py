"""Stands in for tools/train.py: takes its arguments, logs as it does, ends as its config says.

The config is a word, or a file of that name: "works" ends after two iterations, "fails" with a line
and exit code 1, and "waits" goes on until it is ended.
"""

import json
import os
import sys
import time
from pathlib import Path

config, folder = Path(sys.argv[1]).stem, Path(sys.argv[3])
log = folder / "20260101_000000" / "vis_data" / "scalars.json"
log.parent.mkdir(parents=True, exist_ok=True)
(folder / "pid").write_text(str(os.getpid()))
(folder / "threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))
with log.open("w") as file:
    for iteration in (1, 2):
        file.write(json.dumps({"loss": 1.0, "time": 0.1, "epoch": 1, "iter": iteration}) + "\n")
if config == "fails":
    sys.exit("error: the loss is not finite")
while config == "waits":
    time.sleep(0.05)
sum(range(10**6))
