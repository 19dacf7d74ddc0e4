"""Two ranks train a segmentor from a checkpoint: CONFIG DATA CHECKPOINT FOLDER."""

import os
import sys

import tiny_segmentation
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.distributed import destroy_process_group, init_process_group

path, data, checkpoint, folder = sys.argv[1:]
Config.pretty_text = property(Config.text.fget)


class Start(Hook):
    def before_train(self, runner):
        torch.save(runner.model.module.state_dict(), f"{folder}/{rank}.pth")


other = os.fork()
rank = 0 if other else 1
os.environ["LOCAL_RANK"] = str(rank)
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
cfg = tiny_segmentation.shrunk(path, data, folder)
cfg.model.backbone.init_cfg = {
    "type": "Pretrained",
    "checkpoint": checkpoint,
    "prefix": "teacher.backbone.",
}
cfg.launcher = "pytorch"
cfg.model_wrapper_cfg = {"type": "MMDistributedDataParallel", "device_ids": None}
# torch has synchronised batch norm for GPUs only.
cfg.sync_bn = None
runner = Runner.from_cfg(cfg)
runner.register_hook(Start())
runner.train()
torch.save(runner.model.module.state_dict(), f"{folder}/end_{rank}.pth")
destroy_process_group()
if other:
    assert os.waitpid(other, 0)[1] == 0, "rank 1 failed"
