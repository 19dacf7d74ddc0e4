"""Few-label subsets."""

from __future__ import annotations

import numpy as np
import pytest

from mmdino.datasets.balanced_subset import balanced_subset

LABELS = np.repeat([0, 1, 2, 5], [200, 100, 40, 3])


def test_each_class_gives_its_fraction_and_at_least_one_image():
    chosen = balanced_subset(LABELS, 0.1)
    assert np.bincount(LABELS[chosen]).tolist() == [20, 10, 4, 0, 0, 1]
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(LABELS[balanced_subset(LABELS, 0.001)]).tolist() == [1, 1, 1, 0, 0, 1]
    assert balanced_subset(LABELS, 1).tolist() == list(range(len(LABELS)))


def test_order_of_the_images_does_not_matter_but_for_their_places():
    shuffle = np.random.default_rng(0).permutation(len(LABELS))
    counts = np.bincount(LABELS[shuffle][balanced_subset(LABELS[shuffle], 0.1)])
    assert counts.tolist() == [20, 10, 4, 0, 0, 1]


def test_seeds_draw_other_images_and_larger_fractions_contain_smaller_ones():
    small, large = (balanced_subset(LABELS, fraction, seed=3) for fraction in (0.05, 0.3))
    assert small.tolist() == balanced_subset(LABELS, 0.05, seed=3).tolist()
    assert small.tolist() != balanced_subset(LABELS, 0.05, seed=4).tolist()
    assert set(small) < set(large)


def test_a_class_draws_the_same_images_whatever_the_others_are():
    rest = LABELS[200:]
    with_first = balanced_subset(LABELS, 0.2)
    assert (with_first[with_first >= 200] - 200).tolist() == balanced_subset(rest, 0.2).tolist()


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range_are_refused(fraction):
    with pytest.raises(ValueError, match=r"invalid fraction=.*expected a number within \(0, 1\]"):
        balanced_subset(LABELS, fraction)


def test_seeds_and_labels_out_of_range_are_refused():
    with pytest.raises(ValueError, match="invalid seed=-1"):
        balanced_subset(LABELS, 0.1, seed=-1)
    with pytest.raises(ValueError, match="minimum -1"):
        balanced_subset([0, -1], 0.5)
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        balanced_subset([], 0.5)
