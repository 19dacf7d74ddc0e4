"""Groups of near-duplicates, and what stays of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdino.curation.near_duplicates import (
    NearPairs,
    check_threshold,
    components_of,
    drop_components,
    find_components,
    find_evaluation_images,
    keep_one,
    pairs_above,
)
from mmdino.curation.search import ExactIndex
from mmdino.curation.vectors import Vectors


def at_angles(*degrees):
    """Vectors of the plane; the similarity of two is the cosine of the angle between them."""
    radians = np.deg2rad(degrees)
    features = np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)
    return Vectors(features, 2, np.arange(len(degrees)))


def find(vectors, threshold, k=64):
    return find_components(ExactIndex(vectors), vectors, k, threshold)


def test_a_chain_of_near_duplicates_is_one_component():
    """0 and 20 degrees are not near each other, but both are near 10."""
    found = find(at_angles(0, 90, 10, 20, 93), np.cos(np.deg2rad(12)))
    assert len(set(found.labels)) == 2
    assert found.labels[0] == found.labels[2] == found.labels[3]
    assert found.labels[1] == found.labels[4]
    assert found.edges == 3


def test_a_pair_at_the_threshold_is_not_joined():
    vectors = at_angles(0, 60)
    similarity = float(vectors[:][0] @ vectors[:][1])
    assert len(set(find(vectors, similarity).labels)) == 2
    assert len(set(find(vectors, similarity - 1e-3).labels)) == 1


def test_each_pair_is_counted_once_with_its_similarity():
    vectors = at_angles(0, 10, 20)
    pairs, similarity, nearest = pairs_above(ExactIndex(vectors), vectors, 2, -1)
    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_allclose(similarity, np.cos(np.deg2rad([10, 20, 10])), atol=1e-6)
    np.testing.assert_allclose(nearest, np.cos(np.deg2rad([10, 10, 10])), atol=1e-6)


def test_neighbours_beyond_k_are_joined_through_others():
    """Of 30 equal images each has only 3 neighbours, of which some are all of the others'."""
    angles = np.linspace(0, 3, 30)
    assert len(set(find(at_angles(*angles), 0.999, k=3).labels)) == 1


def test_pairs_near_the_threshold_are_those_of_both_sides():
    vectors = at_angles(0, 10, 32, 60, 100)
    threshold = np.cos(np.deg2rad(35))
    near = NearPairs(threshold, shown=2)
    pairs_above(ExactIndex(vectors), vectors, 4, threshold, near)
    assert near.above[:, :2].tolist() == [[0, 2], [2, 3]]  # 32 and 28 degrees apart
    assert near.below[:, :2].tolist() == [[3, 4], [1, 3]]  # 40 and 50


def test_the_first_or_the_preferred_image_stays():
    labels = np.array([0, 1, 0, 1, 2, 0])
    assert keep_one(labels).tolist() == [0, 1, 0, 1, 4, 0]
    assert keep_one(labels, np.array([5, 1, 9, 1, 0, 9])).tolist() == [2, 1, 2, 1, 4, 2]


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_one_image_stays_of_each_component(pairs):
    labels = components_of(np.array(pairs, dtype=np.int32).reshape(-1, 2), 20)
    kept_for = keep_one(labels)
    assert (labels[kept_for] == labels).all()
    assert len(set(kept_for)) == len(set(labels))
    assert (kept_for[kept_for] == kept_for).all()
    assert all(labels[first] == labels[second] for first, second in pairs)


def test_a_component_with_an_evaluation_image_is_dropped_whole():
    images, evaluation = at_angles(0, 10, 20, 90), at_angles(200, 22)
    labels = find(images, np.cos(np.deg2rad(12))).labels
    hits = find_evaluation_images(ExactIndex(evaluation), images, np.cos(np.deg2rad(5)))
    assert hits.hit.tolist() == [False, False, True, False]
    assert hits.nearest[2] == 1
    assert drop_components(labels, [hits.hit]).tolist() == [True, True, True, False]
    assert not drop_components(labels, []).any()


@pytest.mark.parametrize("value", [-1, 1.01, float("nan"), 60])
def test_a_threshold_is_a_cosine(value):
    with pytest.raises(ValueError, match=r"threshold=.*above -1 and at most 1.*calibrate"):
        check_threshold("threshold", value)
    check_threshold("threshold", 1)
