"""J and F of masks, and how they are summarised."""

from __future__ import annotations

import numpy as np
import pytest

from mmdino.evaluation.region_and_contour import contour_accuracy, region_similarity, statistics


def test_j_and_f_follow_the_definition(golden):
    arrays = {name: tensor.numpy() for name, tensor in golden("video", "jf/").items()}
    for truth, predicted, region, contour in zip(
        *(arrays[name] for name in ("truth", "prediction", "J", "F")), strict=True
    ):
        assert abs(region_similarity(truth, predicted) - region) < 1e-12
        assert abs(contour_accuracy(truth, predicted) - contour) < 1e-12


def square(at, size=20, shape=(90, 120)):
    mask = np.zeros(shape, bool)
    mask[at : at + size, at : at + size] = True
    return mask


@pytest.mark.parametrize(("moved", "expected"), [(0, 1.0), (1, 1.0), (40, 0.0)])
def test_a_contour_within_the_tolerance_counts(moved, expected):
    """0.008 of the diagonal of 150 pixels is 2 pixels."""
    assert contour_accuracy(square(10), square(10 + moved)) == expected


def test_masks_without_contour():
    nothing, all_of_it = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    one = square(2, 3, (9, 9))
    assert contour_accuracy(nothing, all_of_it) == 1
    assert contour_accuracy(one, nothing) == contour_accuracy(nothing, one) == 0


def test_mean_recall_and_decay():
    found = statistics([0.9, 0.8, 0.7, 0.5, 0.4, 0.3, 0.2, 0.2])
    # Quarters of 8 frames end at frames 1, 3, 5, 6 and 8, rounded, and share these.
    assert found.mean == pytest.approx(0.5)
    assert found.recall == pytest.approx(3 / 8)
    assert found.decay == pytest.approx(np.mean([0.9, 0.8, 0.7]) - np.mean([0.3, 0.2, 0.2]))
    assert statistics([0.7]) == (pytest.approx(0.7), 1.0, 0.0)
