"""Runs of SwAV past the freeze of its prototypes and the start of its queue."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tiny_run
import tiny_swav
import torch
from mmengine.hooks import Hook


class Prototypes(Hook):
    """Notes the prototypes and the loss after each micro-batch."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rows.append(runner.model.loss_function.prototypes.weight.detach().clone())
        self.losses.append(outputs["loss"].item())


def train(work_dir, **options):
    runner = tiny_run.build(work_dir, **tiny_swav.options(**options))
    watch = Prototypes()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


def test_prototypes_stay_for_the_freeze_and_move_after_it(tmp_path):
    freeze = {"steps": 6, "layer": "loss_function.prototypes"}
    _, watch = train(tmp_path, custom_hooks=tiny_swav.hooks(LastLayerFreezeHook=freeze))
    first, *later = watch.rows
    for step, prototypes in enumerate(later, start=1):
        moved = (prototypes - first).abs().max()
        # Setting rows to unit length again changes no more than their last bits.
        assert moved > 1e-4 if step >= 6 else moved < 1e-6, step


def test_figures_are_logged_and_the_queue_changes_the_codes(tmp_path):
    runner, watch = train(tmp_path / "queue")
    _, without = train(
        tmp_path / "none",
        model=tiny_swav.model(queue_length=0),
        custom_hooks=tiny_swav.hooks(QueueStartHook=None),
    )
    queue = runner.model.loss_function.queue
    assert queue.count.item() == tiny_swav.QUEUE
    assert watch.losses[:10] == without.losses[:10]
    assert watch.losses[10] != without.losses[10]
    scalars = runner.message_hub.log_scalars
    for name in ("teacher_entropy", "entropy_bound", "kl", "used_prototypes", "ce_over_lnk"):
        assert torch.isfinite(torch.tensor(scalars[f"train/{name}"].current())), name


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, epoch):
    """From before the queue's start, with the queue half full, and full."""
    whole, _ = train(tmp_path / "whole")
    resumed, _ = train(
        tmp_path / "resumed", load_from=f"{tmp_path}/whole/epoch_{epoch}.pth", resume=True
    )
    start = torch.load(tmp_path / f"whole/epoch_{epoch}.pth", weights_only=False)["state_dict"]
    assert start["loss_function.queue.count"].item() == [0, 16, 24][epoch - 1]
    expected = whole.model.state_dict()
    for key, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tmp_path):
    """Killed while the queue is filled; float16, with skipped steps and accumulation."""
    script = tiny_run.SCRIPTS / "swav_killed_and_resumed.py"
    command = [sys.executable, str(script), str(tmp_path)]
    subprocess.run(
        command, env=tiny_run.script_env(), stdout=subprocess.DEVNULL, timeout=300, check=True
    )
    killed, resumed, whole = (
        [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("killed", "resumed", "uninterrupted")
    )
    assert killed == whole[: len(killed)]
    assert resumed == whole[-len(resumed) :]
    assert resumed[0][0] < len(killed) < len(whole)
    # The second micro-batch of each of the steps.
    assert {took_step for _, _, took_step in whole[1::2]} == {True, False}
    end, expected = (
        torch.load(tmp_path / f"{name}.pth", weights_only=False)
        for name in ("resumed", "uninterrupted")
    )
    for key, tensor in expected["model"].items():
        assert torch.equal(end["model"][key], tensor), key
    torch.testing.assert_close(end["optimizer"], expected["optimizer"], rtol=0, atol=0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The rows of a process alone, of two replicas and of two ranks that share the parameters."""
    folder = tmp_path_factory.mktemp("swav")
    subprocess.run(
        [sys.executable, str(tiny_run.SCRIPTS / "train_swav_on_two_ranks.py"), str(folder)],
        env=tiny_run.script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo"),
        stdout=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    return {
        name: torch.load(folder / f"{name}.pth", weights_only=False) for name in ("alone", 0, 1)
    }


@pytest.mark.slow
@pytest.mark.parametrize("way", ["replicated", "sharded", "resumed"])
def test_two_ranks_equal_one_process(seen, way):
    """Losses, all weights and the queue, after each step; a resumed run begins with the third."""
    for rank in (0, 1):
        rows = seen[rank][way]["rows"]
        whole = seen["alone"]["rows"]
        start = seen[rank][way]["start"]
        assert (start, len(rows)) == ((8, 8) if way == "resumed" else (0, 16))
        for row, expected in zip(rows, whole[start:], strict=True):
            assert list(row) == list(expected)
            for name, tensor in expected.items():
                torch.testing.assert_close(row[name], tensor, rtol=0, atol=1e-9, msg=name)


@pytest.mark.slow
def test_what_two_ranks_are_compared_by_moves(seen):
    rows = seen["alone"]["rows"]
    for name in ("loss_function.prototypes.weight", "loss_function.queue.features"):
        assert (rows[-1][name] - rows[0][name]).abs().max() > 0.01, name
    assert [row["loss_function.queue.count"].item() for row in rows[3:11]] == [
        *(0, 4, 8, 12, 16, 20, 24, 24)
    ]


@pytest.mark.slow
def test_losses_of_two_ranks_have_the_mean_of_one_process(seen):
    for way in ("replicated", "sharded"):
        halves = zip(*(seen[rank][way]["losses"] for rank in (0, 1)), strict=True)
        found = [sum(half) / 2 for half in halves]
        assert found == pytest.approx(seen["alone"]["losses"], abs=1e-9)
