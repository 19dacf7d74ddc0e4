"""Two ways to make views are told apart where they differ, and not where they do not."""

from __future__ import annotations

import numpy as np

from common.view_statistics import FAR, deviates, view_statistics


def noise(seed: int, brightness: int = 0) -> np.ndarray:
    """Statistics of 300 views of each of two images."""
    rng = np.random.default_rng(seed)
    views = rng.integers(0, 200, (2, 300, 8, 8, 3)) + brightness
    return np.stack([view_statistics(part.astype(np.uint8)) for part in views])


def test_a_small_difference_is_seen():
    assert deviates(noise(0), noise(1)).max() < FAR
    assert deviates(noise(0), noise(1, brightness=2)).max() > FAR


def test_statistics_of_a_view_by_hand():
    views = np.zeros((2, 4, 4, 3), np.uint8)
    views[1, :, 2:] = 255
    found = view_statistics(views)
    means, deviations = found[:, :3], found[:, 5:8]
    assert means.tolist() == [[0] * 3, [127.5] * 3]
    assert deviations.tolist() == [[0] * 3, [127.5] * 3]
    gray, sharpness = found[:, 22], found[:, 23]
    assert gray.tolist() == [1, 1]
    assert sharpness.tolist() == [0, 85]
    fractions = found[:, 24:].reshape(2, 3, 16)
    assert fractions[0, :, 0].tolist() == [1] * 3
    assert fractions[1, :, 0].tolist() == fractions[1, :, 15].tolist() == [0.5] * 3


def test_what_never_varies_is_no_difference():
    same = np.zeros((1, 4, 2))
    assert deviates(same, same).tolist() == [0, 0]
