"""What happens between ranks: when gradients are reduced, and what changes when all is sharded."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny_run
import torch

SCRIPT = '''
"""The same run as two ranks: replicated, replicated with other options, sharded, resumed."""
import os
import sys

import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS, init_default_scope
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

folder = sys.argv[1]


class Recorder(Hook):
    """Notes the figures of each micro-batch and the whole state that it leaves."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        whole = StateDictOptions(full_state_dict=True)
        state = get_model_state_dict(runner.model, options=whole)
        scalars = runner.message_hub.log_scalars
        self.rows.append({
            "loss": outputs["loss"].item(),
            "step": runner.optim_wrapper.step_taken,
            "state": {name: tensor.clone() for name, tensor in state.items()},
            **{
                name: scalars[f"train/{name}"].current()
                for name in ("grad_norm", "clipped_tensors")
                if runner.optim_wrapper.step_taken
            },
        })


class ReductionWatch(Hook):
    """Notes what a backward pass does in what order: reduces a bucket, ends at the first layer."""

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
        f"{folder}/{name}",
        batch_size=4 // counts,
        accumulative_counts=counts,
        dataset=tiny_run.RandomViews(16, torch.get_default_dtype()),
        launcher="pytorch",
        default_hooks={
            "checkpoint": {"type": "CheckpointHook", "interval": 1},
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


init_default_scope("mmpretrain")
torch.set_default_dtype(torch.float64)
other = os.fork()
rank = 0 if other else 1
os.environ["LOCAL_RANK"] = str(rank)
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
sharded = {"strategy": {"type": "mmdino.StudentTeacherFSDPStrategy"}}
watch = ReductionWatch()
seen = {
    "replicated": train("replicated", watch, **replicated(bucket_cap_mb=0.01)),
    # Of static graphs torch wants the first backward pass reduced, so that none accumulates.
    "static": train(
        "static", counts=1, **replicated(static_graph=True, gradient_as_bucket_view=True)
    ),
    "compiled": train(
        "compiled", model=model(with_cp=True, compile={"backend": "eager"}), **replicated()
    ),
    "sharded": train("sharded", **sharded),
    "checkpointed": train("checkpointed", model=model(with_cp=True), **sharded),
    "resumed": train(
        "resumed", **sharded, resume=True, load_from=f"{folder}/sharded/epoch_1.pth"
    ),
    "passes": watch.passes,
}
torch.save(seen, f"{folder}/{rank}.pth")
destroy_process_group()
if other:
    assert os.waitpid(other, 0)[1] == 0, "rank 1 failed"
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrappers")
    (folder / "train.py").write_text(SCRIPT)
    subprocess.run(
        [sys.executable, str(folder / "train.py"), str(folder)],
        env=tiny_run.script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo"),
        stdout=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    """What each rank saw."""
    return [torch.load(folder / f"{rank}.pth", weights_only=False) for rank in (0, 1)]


def assert_rows_equal(rows, expected, tolerance, figures=("loss", "grad_norm", "clipped_tensors")):
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        assert row["step"] == other["step"]
        for name in figures:
            expected_figure = pytest.approx(other.get(name, 0), rel=tolerance, abs=tolerance)
            assert row.get(name, 0) == expected_figure
        assert list(row["state"]) == list(other["state"])
        for name, tensor in other["state"].items():
            torch.testing.assert_close(row["state"][name], tensor, rtol=0, atol=tolerance, msg=name)


def test_gradients_are_reduced_while_the_backward_pass_runs(seen):
    for rank in seen:
        # torch forms the buckets in the first backward pass that reduces.
        passes = [events for events in rank["passes"] if len(events) > 1][1:]
        assert passes
        for events in passes:
            assert events.index("first layer") >= 3, "buckets reduced before the end of the pass"
            assert events[-1] != "first layer", "the first layer's own bucket comes last"


def test_each_trained_element_is_reduced_once_a_step_and_no_other(seen):
    """Not the teacher, not the frozen gain, and nothing in the first of two micro-batches."""
    for rank in seen:
        passes = [[size for size in events if size != "first layer"] for events in rank["passes"]]
        trained = rank["replicated"]["trained"]
        assert [sum(sizes) for sizes in passes] == [0, trained] * (len(passes) // 2)


def test_wrapper_options_change_nothing(seen):
    for rank in seen:
        steps = rank["replicated"]["rows"][1::2]
        assert_rows_equal(rank["static"]["rows"], steps, 1e-12, ("grad_norm", "clipped_tensors"))


def test_sharded_equals_replicated(seen):
    """Losses, gradient norms, number of clipped tensors, student, teacher and centre."""
    for rank in seen:
        assert rank["replicated"]["wrapper"] == "MMDistributedDataParallel"
        assert rank["sharded"]["wrapper"] == "MMFullyShardedDataParallel"
        assert any(row.get("clipped_tensors", 0) > 10 for row in rank["sharded"]["rows"])
        assert_rows_equal(rank["sharded"]["rows"], rank["replicated"]["rows"], 1e-12)
        assert rank["sharded"]["top1"] == rank["replicated"]["top1"]


@pytest.mark.parametrize(
    ("run", "plain"), [("compiled", "replicated"), ("checkpointed", "sharded")]
)
def test_options_of_the_model_change_nothing(seen, run, plain):
    """Compiled by a backend that compiles nothing, and with activation checkpoints in both."""
    for rank in seen:
        assert_rows_equal(rank[run]["rows"], rank[plain]["rows"], 1e-12)


def test_each_rank_holds_half(seen):
    whole = seen[0]["replicated"]
    for rank in seen:
        assert rank["sharded"]["held"] == pytest.approx(whole["held"] / 2, rel=0.01)
    parts = zip(*(rank["sharded"]["groups"] for rank in seen), strict=True)
    assert [[a + b, decays] for (a, decays), (b, _) in parts] == whole["groups"]


def test_sharded_run_resumes_as_if_never_interrupted(seen):
    for rank in seen:
        rows = rank["sharded"]["rows"]
        assert_rows_equal(rank["resumed"]["rows"], rows[len(rows) // 2 :], 0)


def test_checkpoint_of_a_sharded_run_starts_any_other(seen, folder, tmp_path):
    runner = tiny_run.build(tmp_path, load_from=f"{folder}/sharded/epoch_2.pth", epochs=3)
    runner.model.double()
    runner.load_or_resume()
    for name, tensor in seen[0]["sharded"]["rows"][-1]["state"].items():
        assert torch.equal(runner.model.state_dict()[name], tensor), name
