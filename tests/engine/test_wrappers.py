"""What happens between ranks: when gradients are reduced, and what changes when all is sharded."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from script_process import run_script

from mmdino.weights.files import read_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrappers")
    run_script("train_wrapped.py", folder)
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    """What each rank saw."""
    return [torch.load(folder / f"{rank}.pth", weights_only=False) for rank in (0, 1)]


def assert_rows_equal(rows, expected, tolerance, metrics=("loss", "grad_norm", "clipped_tensors")):
    assert len(rows) == len(expected) > 0
    for row, other in zip(rows, expected, strict=True):
        assert row["step"] == other["step"]
        for name in metrics:
            expected_metric = pytest.approx(other.get(name, 0), rel=tolerance, abs=tolerance)
            assert row.get(name, 0) == expected_metric
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


def test_checkpoints_of_a_sharded_run_are_read_restricted(seen, folder):
    for epoch in (1, 2):
        content = read_checkpoint(f"{folder}/sharded/epoch_{epoch}.pth")
        assert content["state_dict"].keys() == seen[0]["sharded"]["rows"][-1]["state"].keys()


def test_checkpoint_of_a_sharded_run_starts_any_other(seen, folder, tmp_path):
    runner = tiny_run.build(tmp_path, load_from=f"{folder}/sharded/epoch_2.pth", epochs=3)
    runner.model.double()
    runner.load_or_resume()
    for name, tensor in seen[0]["sharded"]["rows"][-1]["state"].items():
        assert torch.equal(runner.model.state_dict()[name], tensor), name
