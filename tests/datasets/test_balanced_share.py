"""Few-label subsets."""

from __future__ import annotations

import numpy as np
import pytest

from mmdino.datasets.balanced_share import balanced_share

LABELS = np.repeat([0, 1, 2, 5], [200, 100, 40, 3])


def test_each_class_gives_its_share_and_at_least_one_image():
    chosen = balanced_share(LABELS, 0.1)
    assert np.bincount(LABELS[chosen]).tolist() == [20, 10, 4, 0, 0, 1]
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(LABELS[balanced_share(LABELS, 0.001)]).tolist() == [1, 1, 1, 0, 0, 1]
    assert balanced_share(LABELS, 1).tolist() == list(range(len(LABELS)))


def test_order_of_the_images_does_not_matter_but_for_their_places():
    shuffle = np.random.default_rng(0).permutation(len(LABELS))
    counts = np.bincount(LABELS[shuffle][balanced_share(LABELS[shuffle], 0.1)])
    assert counts.tolist() == [20, 10, 4, 0, 0, 1]


def test_seeds_draw_other_images_and_larger_shares_hold_smaller_ones():
    small, large = (balanced_share(LABELS, share, seed=3) for share in (0.05, 0.3))
    assert small.tolist() == balanced_share(LABELS, 0.05, seed=3).tolist()
    assert small.tolist() != balanced_share(LABELS, 0.05, seed=4).tolist()
    assert set(small) < set(large)


def test_a_class_draws_the_same_images_whatever_the_others_are():
    rest = LABELS[200:]
    with_first = balanced_share(LABELS, 0.2)
    assert (with_first[with_first >= 200] - 200).tolist() == balanced_share(rest, 0.2).tolist()


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan")])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(ValueError, match=r"share of labelled images is .*above 0 and at most 1"):
        balanced_share(LABELS, share)


def test_seeds_and_labels_out_of_range_are_refused():
    with pytest.raises(ValueError, match="seed of the share is -1"):
        balanced_share(LABELS, 0.1, seed=-1)
    with pytest.raises(ValueError, match="begin at -1"):
        balanced_share([0, -1], 0.5)
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        balanced_share([], 0.5)
