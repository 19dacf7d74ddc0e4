"""Four micro-batches of one image are one batch of four."""

from __future__ import annotations

from itertools import pairwise

import pytest
import tiny_run
import torch
from mmengine.optim import OptimWrapper

OVERFLOWS_AT_FIRST = {
    "precision": "float16",
    # float16 overflows at the scales 2^60, 2^40 and 2^20, and not at 1.
    "loss_scale": {"init_scale": 2.0**60, "backoff_factor": 2.0**-20},
}


def train(work_dir, batch_size, counts, double=False, **options):
    """Trains and returns what each micro-batch left."""
    options = {"default_hooks": {"checkpoint": None}, **options}
    runner = tiny_run.build(work_dir, batch_size=batch_size, accumulative_counts=counts, **options)
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    if double:
        runner.model.double()
    runner.train()
    return recorder.rows


def last_of_steps(rows, counts):
    """The rows of micro-batches that complete an optimiser step."""
    return [row for done, row in enumerate(rows, 1) if done % counts == 0 or done == len(rows)]


def loss_of_steps(rows):
    """The mean loss of the micro-batches of each step."""
    means, window = [], []
    for row in rows:
        window.append(row["loss"])
        if row["step"]:
            means.append(sum(window) / len(window))
            window = []
    return means


@pytest.mark.parametrize(
    ("images", "epochs"),
    [(12, 2), (10, 1), (10, 3)],
    ids=["whole windows", "last window of two", "last window of each epoch of two"],
)
def test_four_of_one_are_one_of_four(tmp_path, images, epochs):
    options = {"dataset": tiny_run.RandomViews(images, torch.float64), "epochs": epochs}
    small = train(tmp_path / "small", batch_size=1, counts=4, double=True, **options)
    large = train(tmp_path / "large", batch_size=4, counts=1, double=True, **options)

    assert loss_of_steps(small) == pytest.approx([row["loss"] for row in large], abs=1e-11)
    steps = [row for row in small if row["step"]]
    for name in ("lr", "weight_decay", "momentum"):
        assert [row[name] for row in steps] == pytest.approx([row[name] for row in large]), name
    for name in ("student", "teacher", "center", "prototypes"):
        for step, (found, expected) in enumerate(zip(steps, large, strict=True)):
            torch.testing.assert_close(
                found[name], expected[name], rtol=0, atol=1e-9, msg=f"{name} after step {step}"
            )


def test_plain_wrapper_of_mmengine_accumulates_as_well(tmp_path):
    wrapper = {"type": "OptimWrapper", "clip_grad": None}
    ends = []
    for batch_size, counts in ((1, 4), (4, 1)):
        runner = tiny_run.build(
            tmp_path / f"{counts}",
            batch_size=batch_size,
            accumulative_counts=counts,
            dataset=tiny_run.RandomViews(10, torch.float64),
            epochs=1,
            wrapper=wrapper,
        )
        ends.append(tiny_run.train_double(runner))
        assert type(runner.optim_wrapper) is OptimWrapper
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=0, atol=1e-9)


def test_everything_moves_on_optimiser_steps_only(tmp_path):
    rows = train(tmp_path, batch_size=1, counts=4, epochs=2)
    assert [row["step"] for row in rows] == [False, False, False, True] * 6
    # The learning rate of the first step is 0.
    for before, row in pairwise(rows[3:]):
        for name in ("student", "teacher", "center"):
            assert torch.equal(before[name], row[name]) is not row["step"], name
        if not row["step"]:
            assert row["momentum"] == before["momentum"]
    for start in range(0, len(rows), 4):
        for name in ("lr", "weight_decay"):
            assert len({row[name] for row in rows[start : start + 4]}) == 1, name
    assert len({row["weight_decay"] for row in rows}) == 6


def test_prototypes_stay_in_the_frozen_epoch(tmp_path):
    """Not even the weight decay acts on them, which it does at a gradient of zero."""
    for batch_size, counts in ((4, 1), (1, 4)):
        rows = train(tmp_path / f"{counts}", batch_size=batch_size, counts=counts, epochs=2)
        frozen, free = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        start = rows[0]["prototypes"]
        assert all(torch.equal(row["prototypes"], start) for row in frozen)
        moved = [not torch.equal(row["prototypes"], start) for row in free]
        assert moved == [False] * (counts - 1) + [True] * (len(free) - counts + 1)
        assert not torch.equal(frozen[-1]["student"], frozen[0]["student"])


@pytest.mark.parametrize(("batch_size", "counts"), [(1, 4), (4, 1)])
def test_nothing_moves_in_steps_that_the_scaler_skips(tmp_path, batch_size, counts):
    rows = train(tmp_path, batch_size, counts, epochs=3, wrapper=OVERFLOWS_AT_FIRST)
    steps = last_of_steps(rows, counts)
    assert [row["step"] for row in steps] == [False] * 3 + [True] * 6
    assert not steps[0]["center"].any()
    for before, row in pairwise(steps):
        for name in ("student", "teacher", "center"):
            assert torch.equal(before[name], row[name]) is not row["step"], name


def test_four_of_one_skip_what_one_of_four_skips(tmp_path):
    options = {"epochs": 3, "wrapper": OVERFLOWS_AT_FIRST}
    small = last_of_steps(train(tmp_path / "small", 1, 4, **options), 4)
    large = train(tmp_path / "large", 4, 1, **options)
    assert [row["step"] for row in small] == [row["step"] for row in large]
    for name in ("center", "teacher"):
        for found, expected in zip(small, large, strict=True):
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-3)


@pytest.mark.parametrize(("batch_size", "counts"), [(1, 4), (4, 1)])
def test_centre_is_the_running_mean_of_the_logits_of_the_steps_taken(tmp_path, batch_size, counts):
    runner = tiny_run.build(
        tmp_path,
        batch_size=batch_size,
        accumulative_counts=counts,
        wrapper=OVERFLOWS_AT_FIRST,
    )
    recorder, means = tiny_run.Recorder(), []
    runner.register_hook(recorder)
    runner.model.dino_loss.register_forward_hook(
        lambda _, logits, __: means.append(logits[1].float().mean((0, 1)))
    )
    runner.train()
    center = torch.zeros(1, 32)
    for start in range(0, len(means), counts):
        end = recorder.rows[start + counts - 1]
        if end["step"]:
            center = 0.9 * center + 0.1 * torch.stack(means[start : start + counts]).mean(0)
        torch.testing.assert_close(end["center"], center, rtol=0, atol=1e-6)


def test_learning_rate_follows_the_effective_batch(tmp_path):
    runner = tiny_run.build(
        tmp_path,
        batch_size=2,
        accumulative_counts=4,
        auto_scale_lr={"enable": True, "base_batch_size": 4},
        wrapper={"optimizer": {"type": "AdamW", "lr": 0.001}},
        log_level="INFO",
    )
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.train()
    # 2 images x 4 micro-batches are twice the base batch.
    assert max(recorder.column("lr")) == pytest.approx(0.002)
    assert (
        "Effective batch: 2 images x 1 rank(s) x 4 micro-batch(es) = 8. "
        "Peak learning rate: 0.002." in tiny_run.log_text(runner)
    )
