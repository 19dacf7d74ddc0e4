"""Results of runs become rows, summaries and tables."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
import tiny_comparison

from mmdino.comparison.log import RunLog
from mmdino.comparison.record import Record
from mmdino.comparison.results import Result, summaries
from mmdino.comparison.table import as_markdown, as_text, markdown_page, table, write_csv

SIZES = {"epochs": 2, "iterations_per_epoch": 2, "images_per_epoch": 8}


def result(tmp_path, name="dino", seed=0, top1=60.0, state="trained", linear=None):
    """A run that resumed once, with validations before training and after each epoch."""
    attempts = [
        {"elapsed_s": 40.0, "processor_s": 60.0, "memory_mib": 900.0},
        {"elapsed_s": 20.0, "processor_s": 20.0, "memory_mib": 950.0},
    ]
    measured = {} if linear is None else {"linear_top1": linear, "parameters": 1234}
    record = Record("", {}, state=state, attempts=attempts, measured=measured, machine="a PC")
    if state == "failed":
        record.error = "exit code 2, see train.log\nerror: the loss is not finite"
    accuracies = (20.0, 70.0, top1)
    log = RunLog(
        training={i: {"iter": i, "time": t, "kl": 1.0 / i} for i, t in enumerate([9, 1, 2, 3], 1)},
        validation={
            epoch: {"knn/top1": a, "knn/top5": 99.0, "knn/k5_top1": a - 1, "knn/k9_top1": a}
            for epoch, a in enumerate(accuracies)
        },
    )
    return Result(tiny_comparison.run(tmp_path, seed=seed, name=name, **SIZES), record, log)


def test_a_row_has_the_last_validation_and_the_sum_over_all_starts(tmp_path):
    row = result(tmp_path, linear=55.5).row
    expected = {
        "run": "dino",
        "seed": 0,
        "state": "trained",
        "knn_top1": 60.0,
        "knn_k5_top1": 59.0,
        "knn_k9_top1": 60.0,
        "knn_highest_top1": 70.0,
        "linear_top1": 55.5,
        "epochs": 2,
        "images": 16,
        "optimizer_steps": 4,
        "parameters": 1234,
        "images_per_s": 2.0,  # 4 images in 2 s, the first iteration left out
        "elapsed_s": 60.0,
        "processor_s": 80.0,
        "memory_mib": 950.0,
        "cuda_memory_mib": None,
        "starts": 2,
        "options": "randomness.seed=0",
    }
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(("strengths", "top1"), [([1.0], 55.5), ([2.0], None), (None, None)])
def test_a_linear_probe_of_other_strengths_is_left_out(tmp_path, strengths, top1):
    found = result(tmp_path, linear=55.5)
    found.record.measured |= {"linear_strengths": [1.0], "linear_c": 1.0}
    row = dataclasses.replace(found, strengths=strengths).row
    assert (row["linear_top1"], row["linear_c"]) == (top1, top1 and 1.0)
    assert row["parameters"] == 1234
    # --no-linear asks for none, so it cannot be mistaken for what was asked for.
    row = dataclasses.replace(found, strengths=strengths, probes=False).row
    assert (row["linear_top1"], row["linear_c"]) == (55.5, 1.0)


def test_curves_have_images_and_the_share_of_the_processor_time(tmp_path):
    curves = result(tmp_path).curves(["kl"])
    np.testing.assert_allclose(curves.images, [0, 8, 16])
    np.testing.assert_allclose(curves.processor_s, [0, 40, 80])
    np.testing.assert_allclose(curves.top1, [20, 70, 60])
    np.testing.assert_allclose(curves.logged["kl"][:, 0], [0.5, 1, 1.5, 2])
    rows = result(tmp_path).curve_rows(["kl"])
    assert len(rows) == 3 * 4 + 4
    assert rows[-1] == {
        "run": "dino",
        "seed": 0,
        "epoch": 2.0,
        "iteration": 4,
        "images": 16,
        "processor_s": 80.0,
        "metric": "kl",
        "value": 0.25,
    }


def test_the_last_step_of_an_epoch_may_have_fewer_batches(tmp_path):
    method = tiny_comparison.method(epochs=3, iterations_per_epoch=5)
    method.cfg.optim_wrapper.accumulative_counts = 2
    assert method.optimizer_steps == 9
    method.cfg.train_cfg.type = "EpochBasedTrainLoop"
    assert method.optimizer_steps == 8


def test_the_table_has_mean_and_deviation_best_first(tmp_path):
    found = summaries(
        [
            result(tmp_path, "swav", 0, 40.0, linear=50.0),
            result(tmp_path, "byol", 0, 60.0),
            result(tmp_path, "swav", 1, 44.0, linear=51.0),
            result(tmp_path, "byol", 1, 99.0, "failed"),
            result(tmp_path, "mae", 0, 99.0, "failed"),
            result(tmp_path, "simclr", 0, 99.0, "training"),
        ]
    )
    header, *rows = table(found)
    assert header == [
        *("run", "seeds", "k-NN", "k-NN 5", "k-NN 9", "linear", "epochs", "images", "steps"),
        *("images/s", "time", "processor", "memory MiB", "parameters"),
    ]
    assert [row[:6] for row in rows] == [
        ["byol", "1, 1 failed", "60.00", "59.00", "60.00", "-"],
        [
            "swav",
            "2",
            *["42.00 \u00b1 2.83", "41.00 \u00b1 2.83", "42.00 \u00b1 2.83"],
            "50.50 \u00b1 0.71",
        ],
        ["mae", "1 failed", "-", "-", "-", "-"],
        ["simclr", "1 not done", "-", "-", "-", "-"],
    ]
    assert rows[1][6:] == ["2", "16", "4", "2", "0:01:00", "0:01:20", "950", "1,234"]


def test_one_k_has_one_column(tmp_path):
    single = result(tmp_path)
    for values in single.log.validation.values():
        del values["knn/k5_top1"]
    assert table(summaries([single]))[0][2:4] == ["k-NN 9", "epochs"]


def test_text_is_aligned_and_markdown_a_table():
    rows = [["run", "k-NN"], ["a_long_name", "5.00"], ["b", "50.00"]]
    assert as_text(rows).splitlines() == [
        "run           k-NN",
        "-----------  -----",
        "a_long_name   5.00",
        "b            50.00",
    ]
    assert as_markdown(rows).splitlines() == [
        "| run | k-NN |",
        "| --- | ---: |",
        "| a_long_name | 5.00 |",
        "| b | 50.00 |",
    ]


def test_the_page_has_command_notes_machine_and_figures():
    page = markdown_page(
        [["run"], ["dino"]], "python tools/compare.py x", ["one failed"], ["a PC"], ["a.png"]
    )
    for part in ("```bash\npython tools/compare.py x\n```", "- one failed", "Trained on: a PC"):
        assert part in page
    assert "![a](a.png)" in page


@pytest.mark.parametrize("rows", [[], [{"a": 1}, {"b": "x,y", "a": None}]])
def test_csv_has_the_columns_of_all_rows(tmp_path, rows):
    write_csv(tmp_path / "x.csv", rows)
    with (tmp_path / "x.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert read == ([{"a": "1", "b": ""}, {"a": "", "b": "x,y"}] if rows else [])
