"""The state of a run in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmdino.engine.status import Status, in_words, result_line, status_line

STATUS = Status(
    iteration=312,
    iterations=10_400,
    epoch=3,
    epochs=100,
    loss=5.1234,
    images_per_s=812.34,
    seconds_left=752,
    validated={"knn/top1": 41.25},
    best_knn=43.0,
)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            200,
            "epoch 3/100, iteration 312/10,400, loss 5.123, 812.3 images/s, 13 min left, "
            "k-NN 41.2 %, best 43.0 %",
        ),
        (80, "epoch 3/100, loss 5.123, 812.3 images/s, 13 min left, k-NN 41.2 %"),
        (60, "epoch 3/100, loss 5.123, 13 min left, k-NN 41.2 %"),
        (40, "epoch 3/100, loss 5.123, 13 min left"),
        (20, "epoch 3/100"),
        (5, "epoch"),
    ],
)
def test_what_matters_less_is_left_out_first(width, line):
    assert status_line(STATUS, width) == line


def test_of_two_measures_the_second_goes_before_the_speed():
    status = replace(STATUS, validated={"knn/top1": 41.25, "ridge/top1": 50.0}, best_knn=None)
    assert status_line(status, 80) == (
        "epoch 3/100, loss 5.123, 812.3 images/s, 13 min left, k-NN 41.2 %"
    )


def test_the_length_does_not_change_with_the_digits_of_the_loss():
    status = replace(STATUS, loss=5.1)
    assert len(status_line(status, 200)) == len(status_line(STATUS, 200))


def test_a_run_that_has_logged_nothing_says_where_it_is():
    assert status_line(Status(iteration=0, iterations=50), 80) == "iteration 0/50"


def test_a_validation_says_how_far_it_is():
    status = Status(iteration=50, iterations=50, loss=2.0, validation=(3, 20))
    assert status_line(status, 80) == "iteration 50/50, validation 3/20, loss 2.000"
    begun = Status(iteration=50, iterations=50, validation=(0, 0))
    assert status_line(begun, 80) == "iteration 50/50, validation"


def test_the_best_is_named_only_if_it_is_not_the_last():
    status = Status(iteration=1, iterations=9, validated={"knn/top1": 41.0}, best_knn=41.0)
    assert status_line(status, 80) == "iteration 1/9, k-NN 41.0 %"


def test_without_labels_the_line_has_what_was_measured():
    measured = {"features/rankme": 31.21, "features/neighbor_overlap": 45.0}
    status = Status(iteration=1, iterations=9, validated=measured)
    assert status_line(status, 80) == "iteration 1/9, RankMe 31.2, neighbours 45.0 %"


def test_unknown_metrics_have_their_names():
    assert in_words({"accuracy/top1": 61.23456, "mine": 2.0}) == ["accuracy/top1 61.23", "mine 2"]


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"iteration": 0, "epoch": 0, "epochs": 4}, "Untrained: k-NN 12.5 %"),
        ({"iteration": 30, "epoch": 2, "epochs": 4}, "Epoch 2/4: k-NN 12.5 %"),
        ({"iteration": 30}, "Iteration 30/60: k-NN 12.5 %"),
    ],
)
def test_a_result_says_when_it_was_measured(state, line):
    assert result_line(Status(iterations=60, **state), {"knn/top1": 12.5}) == line


def test_a_validation_without_results_says_so():
    assert result_line(Status(iteration=1, iterations=2), {}) == "Iteration 1/2: no results"
