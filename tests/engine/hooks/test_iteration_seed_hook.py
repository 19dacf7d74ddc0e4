"""The random state depends only on run, iteration and rank."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tiny_run
import torch
from mmengine.hooks import Hook

from mmdino.engine.hooks import iteration_seed_hook


class Draws(Hook):
    """Records what the three generators draw in each iteration, and optionally disturbs them."""

    def __init__(self, disturb):
        self.disturb = disturb
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append((random.random(), np.random.random(), torch.rand(1).item()))
        for _ in range(self.disturb):
            random.random(), np.random.random(), torch.rand(1)


def draws(work_dir, disturb=0, seed=3):
    runner = tiny_run.build(work_dir, randomness={"seed": seed})
    hook = Draws(disturb)
    runner.register_hook(hook)
    runner.train()
    return hook.seen


def test_draws_of_an_iteration_follow_from_seed_and_iteration_alone(tmp_path):
    first = draws(tmp_path / "first")
    assert draws(tmp_path / "disturbed", disturb=5) == first
    assert not set(draws(tmp_path / "other", seed=4)) & set(first)
    assert all(len(set(numbers)) == 6 for numbers in zip(*first, strict=True))


@pytest.mark.parametrize("rank", [1, 2])
def test_ranks_draw_other_numbers(tmp_path, monkeypatch, rank):
    first = draws(tmp_path / "first")
    monkeypatch.setattr(iteration_seed_hook, "get_rank", lambda: rank)
    assert not set(draws(tmp_path / "second")) & set(first)
