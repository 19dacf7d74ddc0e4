"""The same run as two ranks, replicated and sharded in several ways: train_wrapped.py FOLDER."""

from __future__ import annotations

import sys

import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS, init_default_scope
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from two_ranks import run_on_two_ranks

FOLDER = sys.argv[1]


class Recorder(Hook):
    """Records metrics of each micro-batch and the full state after it."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        whole = StateDictOptions(full_state_dict=True)
        state = get_model_state_dict(runner.model, options=whole)
        scalars = runner.message_hub.log_scalars
        self.rows.append(
            {
                "loss": outputs["loss"].item(),
                "step": runner.optim_wrapper.step_taken,
                "state": {name: tensor.clone() for name, tensor in state.items()},
                **{
                    name: scalars[f"train/{name}"].current()
                    for name in ("grad_norm", "clipped_tensors")
                    if runner.optim_wrapper.step_taken
                },
            }
        )


class ReductionWatch(Hook):
    """Records the events of a backward pass in order: a bucket reduced, the first layer reached."""

    def __init__(self):
        self.passes = []

    def before_train(self, runner):
        runner.model.register_comm_hook(None, self.reduce)
        first = runner.model.module.backbone.patch_embed.projection.weight
        first.register_post_accumulate_grad_hook(lambda _: self.passes[-1].append("first layer"))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.passes.append([])

    def reduce(self, state, bucket):
        self.passes[-1].append(bucket.buffer().numel())
        return allreduce_hook(None, bucket)


def train(name, *hooks, counts=2, **options):
    cfg = tiny_run.config(
        f"{FOLDER}/{name}",
        batch_size=4 // counts,
        accumulative_counts=counts,
        dataset=tiny_run.RandomViews(16, torch.get_default_dtype()),
        launcher="pytorch",
        default_hooks={
            "checkpoint": {"type": "mmdino.CheckpointHook", "interval": 1},
            "checkpoint_match": {"type": "mmdino.CheckpointMatchHook"},
        },
        **tiny_run.validation(),
        **options,
    )
    runner = RUNNERS.get("FlexibleRunner" if "strategy" in options else "Runner")(**cfg)
    recorder = Recorder()
    for hook in (recorder, *hooks):
        runner.register_hook(hook)
    runner.train()
    parameters = list(runner.model.parameters())
    return {
        "wrapper": type(runner.model).__name__,
        "rows": recorder.rows,
        "held": sum(parameter.numel() for parameter in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "groups": [
            [sum(p.numel() for p in group["params"]), group["weight_decay"] > 0]
            for group in runner.optim_wrapper.optimizer.param_groups
        ],
        "top1": runner.message_hub.log_scalars["val/knn/top1"].current(),
    }


def replicated(**options):
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None, **options}
    return {"cfg": {"model_wrapper_cfg": wrapper}}


def model(with_cp=False, **options):
    cfg = tiny_run.vit_model()
    cfg["backbone"]["with_cp"] = with_cp
    return {**cfg, **options}


def run(rank):
    sharded = {"strategy": {"type": "mmdino.StudentTeacherFSDPStrategy"}}
    watch = ReductionWatch()
    seen = {
        "replicated": train("replicated", watch, **replicated(bucket_cap_mb=0.01)),
        # torch requires the first backward pass of a static graph to be reduced: no accumulation.
        "static": train(
            "static", counts=1, **replicated(static_graph=True, gradient_as_bucket_view=True)
        ),
        "compiled": train(
            "compiled", model=model(with_cp=True, compile={"backend": "eager"}), **replicated()
        ),
        "sharded": train("sharded", **sharded),
        "checkpointed": train("checkpointed", model=model(with_cp=True), **sharded),
        "resumed": train(
            "resumed", **sharded, resume=True, load_from=f"{FOLDER}/sharded/epoch_1.pth"
        ),
        "passes": watch.passes,
    }
    torch.save(seen, f"{FOLDER}/{rank}.pth")


if __name__ == "__main__":
    init_default_scope("mmpretrain")
    torch.set_default_dtype(torch.float64)
    run_on_two_ranks(FOLDER, run)
