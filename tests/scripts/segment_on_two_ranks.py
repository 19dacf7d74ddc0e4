"""Two ranks train a segmentor that starts from a checkpoint.

segment_on_two_ranks.py CONFIG DATA CHECKPOINT FOLDER
"""

from __future__ import annotations

import sys

import tiny_segmentation
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from two_ranks import run_on_two_ranks

CONFIG, DATA, CHECKPOINT, FOLDER = sys.argv[1:]


class Start(Hook):
    """Saves the weights that training starts from."""

    def __init__(self, path):
        self.path = path

    def before_train(self, runner):
        torch.save(runner.model.module.state_dict(), self.path)


def run(rank):
    cfg = tiny_segmentation.shrunk(CONFIG, DATA, FOLDER)
    cfg.model.backbone.init_cfg = {
        "type": "Pretrained",
        "checkpoint": CHECKPOINT,
        "prefix": "teacher.backbone.",
    }
    cfg.launcher = "pytorch"
    cfg.model_wrapper_cfg = {"type": "MMDistributedDataParallel", "device_ids": None}
    # torch has synchronised batch norm for GPUs only.
    cfg.sync_bn = None
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Start(f"{FOLDER}/{rank}.pth"))
    runner.train()
    torch.save(runner.model.module.state_dict(), f"{FOLDER}/end_{rank}.pth")


if __name__ == "__main__":
    # Formatting the config is most of the time of so short a run.
    Config.pretty_text = property(Config.text.fget)
    run_on_two_ranks(FOLDER, run)
