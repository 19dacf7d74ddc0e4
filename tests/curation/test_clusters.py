"""K-means clusters and draws that are equal over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdino.curation import retrieval
from mmdino.curation.clusters import assign, balanced_draws, draw, train_clusters
from mmdino.curation.retrieval import retrieve_clusters, retrieve_nearest
from mmdino.curation.search import ExactIndex
from mmdino.curation.vectors import Vectors

SIZES = (40, 8, 2)


def separated(sizes=SIZES, seed=0):
    """Features close to an axis for each cluster, in the order of the clusters."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    features = np.eye(8)[labels] + 0.02 * rng.standard_normal((len(labels), 8))
    return Vectors(features.astype(np.float32), 8, np.arange(len(labels))), labels


def test_an_image_is_in_the_cluster_of_its_most_similar_centre():
    vectors, labels = separated()
    np.testing.assert_array_equal(assign(vectors, np.eye(8, dtype=np.float32)), labels)


def test_centres_are_of_length_one_and_follow_from_the_seed():
    vectors, _ = separated()
    centres = train_clusters(vectors, 3)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), np.ones(3), atol=1e-5)
    np.testing.assert_array_equal(centres, train_clusters(vectors, 3))
    similarity = (vectors[:] @ centres.T).max(1)
    assert similarity.mean() > 0.9


def test_small_clusters_are_taken_whole_and_the_rest_is_equal():
    assert balanced_draws(np.array(SIZES), 12).tolist() == [5, 5, 2]
    assert balanced_draws(np.array(SIZES), 13).tolist() == [6, 5, 2]
    assert balanced_draws(np.array(SIZES), 50).tolist() == list(SIZES)
    assert balanced_draws(np.array([3, 0, 3]), 2).tolist() == [1, 0, 1]


@given(st.lists(st.integers(0, 30), min_size=1).filter(any), st.data())
def test_draws_are_as_equal_as_sizes_allow(sizes, data):
    sizes = np.array(sizes)
    total = data.draw(st.integers(1, int(sizes.sum())))
    draws = balanced_draws(sizes, total)
    assert draws.sum() == total
    assert (draws <= sizes).all()
    could_give_more = draws < sizes
    assert not could_give_more.any() or draws[could_give_more].min() >= draws.max() - 1


def test_images_are_drawn_without_repetition_by_the_seed():
    clusters = np.array([0, 2, 0, 0, 2, 2, 0])
    draws = np.array([2, 0, 3])
    rows = draw(clusters, draws, seed=3)
    assert np.bincount(clusters[rows], minlength=3).tolist() == draws.tolist()
    assert sorted(set(rows)) == rows.tolist() == draw(clusters, draws, seed=3).tolist()
    assert len({tuple(draw(clusters, draws, seed)) for seed in range(20)}) > 1


def test_more_than_there_is_cannot_be_drawn():
    with pytest.raises(ValueError, match="51 images cannot be drawn without repetition from 50"):
        balanced_draws(np.array(SIZES), 51)
    with pytest.raises(ValueError, match="50 images, which cannot make 51 clusters"):
        train_clusters(separated()[0], 51)


def test_the_nearest_images_of_each_seed_are_taken_once():
    vectors, labels = separated()
    seeds, seed_labels = separated((1, 2, 0), seed=1)
    found = retrieve_nearest(ExactIndex(vectors), seeds, 4)
    assert found.neighbours.shape == found.similarity.shape == (3, 4)
    assert (labels[found.neighbours] == seed_labels[:, None]).all()
    assert found.rows.tolist() == sorted(set(found.neighbours.ravel()))
    with pytest.raises(ValueError, match="50 images, of which the 51 nearest cannot be taken"):
        retrieve_nearest(ExactIndex(vectors), seeds, 51)


def test_clusters_with_enough_seeds_are_taken(monkeypatch):
    centres = np.eye(8, dtype=np.float32)[:3]
    monkeypatch.setattr(retrieval, "train_clusters", lambda vectors, count, seed: centres)
    vectors, labels = separated()
    seeds, _ = separated((4, 3, 0), seed=1)
    found = retrieve_clusters(vectors, seeds, 3)
    assert labels[found.rows].tolist() == [0] * 40
    found = retrieve_clusters(vectors, seeds, 3, min_seeds=3, per_cluster=10)
    assert np.bincount(labels[found.rows]).tolist() == [10, 8]
    assert len(retrieve_clusters(vectors, seeds, 3, 3, at_most=7).rows) == 7
    with pytest.raises(ValueError, match=r"No cluster with images holds 5 .* at most 4 are in one"):
        retrieve_clusters(vectors, seeds, 3, min_seeds=5)
