"""Runs of DINOv2 give what DINO's give: over ranks, killed and resumed, accumulated."""

from __future__ import annotations

import pytest
import tiny_dinov2
import tiny_methods
import tiny_run
import torch
from script_process import run_script

DRAWN = "dinov2_drawn"
CENTERED = ("dinov2_centered_shared", "dinov2_centered_separate")
ON_RANKS = ("dinov2_centered_shared", "dinov2_sinkhorn_separate")
"""Both kinds of targets and of heads; the other two take as long again."""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What a process alone and each of two ranks, replicated and sharded, saw of each run."""
    folder = tmp_path_factory.mktemp("ranks")
    run_script("methods_on_two_ranks.py", folder, *ON_RANKS)
    return {
        name: torch.load(folder / f"{name}.pth", weights_only=False) for name in ("alone", 0, 1)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_RANKS)
@pytest.mark.parametrize("way", ["replicated", "sharded", "resumed"])
def test_two_ranks_equal_one_process(ranks, name, way):
    """All weights and both centres after each micro-batch; neighbours for KoLeo over the ranks.

    The masks are those of the images, since ``BlockMasks`` draws others for each rank's batch. All
    ranks have equally many masked patches: the centre of patches is the mean over ranks of each
    one's mean, as in the released code, and else is not that of one process.
    """
    whole = ranks["alone"][name]
    halves = [ranks[rank][name][way] for rank in (0, 1)]
    for half in halves:
        assert (half["start"], len(half["rows"])) == ((8, 4) if way == "resumed" else (0, 12))
        for row, expected in zip(half["rows"], whole["rows"][half["start"] :], strict=True):
            assert list(row) == list(expected)
            for key, tensor in expected.items():
                torch.testing.assert_close(row[key], tensor, rtol=0, atol=1e-9, msg=key)
    first, last = whole["rows"][0], whole["rows"][-1]
    for part in ("head", "patch_head", "teacher.head", "teacher.patch_head"):
        weight = f"{part}.last_layer.weight_v"
        assert weight not in first or (last[weight] - first[weight]).any()
    centers = {"dino_loss.center", "ibot_loss.center"}
    assert all(bool(last[center].any()) == (name in CENTERED) for center in centers)
    losses = [sum(pair) / 2 for pair in zip(*(half["losses"] for half in halves), strict=True)]
    assert losses == pytest.approx(whole["losses"][halves[0]["start"] :], abs=1e-9)


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tmp_path):
    """With block masks, stochastic depth by rows, float16, skipped steps and accumulation."""
    run_script("methods_killed_and_resumed.py", tmp_path, DRAWN)
    tiny_methods.assert_resumed_is_uninterrupted(tmp_path / DRAWN)


@pytest.mark.parametrize("name", CENTERED)
def test_four_micro_batches_of_one_are_one_batch_of_four(tmp_path, name):
    """Without KoLeo, which compares images: for it and Sinkhorn-Knopp there is ``micro_batch``."""
    ends = []
    for counts in (4, 1):
        options = tiny_dinov2.run(name, images=8, epochs=2)
        options["model"]["koleo_weight"] = 0
        options["dataset"].dtype = torch.float64
        runner = tiny_run.build(
            tmp_path / str(counts), batch_size=4 // counts, accumulative_counts=counts, **options
        )
        ends.append(tiny_run.train_double(runner))
    for key, tensor in ends[1].items():
        torch.testing.assert_close(ends[0][key], tensor, rtol=0, atol=1e-9, msg=key)
