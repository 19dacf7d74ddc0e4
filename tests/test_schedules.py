"""The schedules equal the reference's at every step."""

from __future__ import annotations

import pytest

from mmdino.schedules import (
    cosine,
    delayed_warmup_cosine,
    late_cosine,
    linear_warmup,
    warmup_cosine,
)


@pytest.mark.parametrize("case", ["a", "b"])
def test_schedules_equal_the_reference(golden, case):
    arrays = golden("schedules", f"{case}/")
    epochs, length = int(arrays["epochs"]), int(arrays["iters_per_epoch"])
    total = epochs * length
    ours = {
        "lr": [
            warmup_cosine(i, total, epochs // 5 * length, 0.0005 * 1024 / 256, 1e-6)
            for i in range(total)
        ],
        "weight_decay": [cosine(i, total, 0.04, 0.4) for i in range(total)],
        "momentum": [cosine(i, total, 0.996, 1.0) for i in range(total)],
        "teacher_temp_by_epoch": [
            linear_warmup(epoch, epochs // 3, 0.04, 0.07) for epoch in range(epochs)
        ],
    }
    for name, values in ours.items():
        assert values == pytest.approx(arrays[name].tolist(), abs=1e-12), name


def test_warmup_starts_at_zero_and_reaches_the_peak_on_its_last_step():
    assert warmup_cosine(0, 100, 10, 1.0, 0.0) == 0
    assert warmup_cosine(9, 100, 10, 1.0, 0.0) == 1
    assert warmup_cosine(10, 100, 10, 1.0, 0.0) == 1


def test_warmup_may_start_above_zero():
    found = [warmup_cosine(step, 100, 3, 1.0, 0.0, start=0.5) for step in range(3)]
    assert found == [0.5, 0.75, 1.0]


def test_delayed_rates_equal_the_reference(golden):
    arrays = golden("distillation_train", "train/")
    warmup, epoch = int(arrays["warmup_epochs"]), int(arrays["iters_per_epoch"])
    rates = [float(arrays[name]) for name in ("base_lr", "min_lr", "warmup_lr")]
    expected = arrays["lr"].tolist()
    found = [
        delayed_warmup_cosine(step, len(expected), warmup * epoch, *rates)
        for step in range(len(expected))
    ]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_delayed_rate_without_warmup_begins_at_the_peak():
    found = [delayed_warmup_cosine(step, 3, 0, 1.0, 0.0) for step in range(3)]
    assert found == pytest.approx([1, 1, 0.75])
    assert [delayed_warmup_cosine(step, 2, 2, 1.0, 0.0) for step in range(2)] == [0, 0]


def test_no_warmup_is_the_final_value_at_once():
    assert linear_warmup(0, 0, 0.04, 0.07) == 0.07
    assert linear_warmup(0, 1, 0.04, 0.07) == 0.04
    assert linear_warmup(1, 1, 0.04, 0.07) == 0.07


def test_late_cosine_has_both_ends_among_its_steps():
    found = [late_cosine(step, 2, 3, 1.0, 0.5) for step in range(7)]
    assert found == pytest.approx([1, 1, 1, 0.75, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("warmup", [0, 1])
def test_late_cosine_of_one_step_or_none_is_the_end_at_once(warmup):
    assert [late_cosine(step, 2, warmup, 0.0, 2.0) for step in range(4)] == [0, 0, 2, 2]
