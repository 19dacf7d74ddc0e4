"""Runs of SwAV past the freeze of its prototypes and the start of its queue."""

from __future__ import annotations

import pytest
import tiny_methods
import tiny_run
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
    runner = tiny_run.build(work_dir, **tiny_methods.options("swav", **options))
    watch = Prototypes()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


def test_prototypes_stay_for_the_freeze_and_move_after_it(tmp_path):
    freeze = {"steps": 6, "layer": "loss_function.prototypes"}
    _, watch = train(tmp_path, custom_hooks=tiny_methods.hooks("swav", LastLayerFreezeHook=freeze))
    first, *later = watch.rows
    for step, prototypes in enumerate(later, start=1):
        moved = (prototypes - first).abs().max()
        # Setting rows to unit length again changes no more than their last bits.
        assert moved > 1e-4 if step >= 6 else moved < 1e-6, step


def test_figures_are_logged_and_the_queue_changes_the_codes(tmp_path):
    runner, watch = train(tmp_path / "queue")
    _, without = train(
        tmp_path / "none",
        model=tiny_methods.method("swav", loss=tiny_methods.swav_loss(queue_length=0)),
        custom_hooks=tiny_methods.hooks("swav", QueueStartHook=None),
    )
    queue = runner.model.loss_function.queue
    assert queue.count.item() == tiny_methods.QUEUE
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
