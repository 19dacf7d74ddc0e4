"""The centre's update. tests/engine/test_accumulation.py has it with accumulation and fp16."""

from __future__ import annotations

import tiny_run
import torch


def test_centre_moves_after_the_loss_has_used_the_old_one(tmp_path):
    runner = tiny_run.build(tmp_path, model=tiny_run.vit_model(loss={"center_momentum": 0.6}))
    recorder, used, means = tiny_run.Recorder(), [], []

    def note(loss, logits, _):
        used.append(loss.center.clone())
        means.append(logits[1].mean((0, 1)))

    runner.model.dino_loss.register_forward_hook(note)
    runner.register_hook(recorder)
    runner.train()
    expected = torch.zeros(1, 32)
    for center, mean, row in zip(used, means, recorder.rows, strict=True):
        torch.testing.assert_close(center, expected)
        expected = 0.6 * expected + 0.4 * mean
        torch.testing.assert_close(row["center"], expected)


def test_centre_is_in_the_checkpoint(tmp_path):
    runner = tiny_run.build(tmp_path)
    runner.train()
    state = torch.load(tmp_path / "epoch_2.pth", weights_only=False)["state_dict"]
    assert torch.equal(state["dino_loss.center"], runner.model.dino_loss.center)
    assert state["dino_loss.center"].any()


def test_sum_over_ranks_may_start_with_the_last_micro_batch_of_a_step(tmp_path):
    runner = tiny_run.build(
        tmp_path,
        batch_size=2,
        accumulative_counts=2,
        epochs=1,
    )
    seen = []
    runner.model.dino_loss.register_forward_hook(lambda loss, *_: seen.append(loss.last_of_step))
    runner.train()
    assert seen == [False, True] * 3
