"""Unit vectors from rows of an array."""

from __future__ import annotations

import numpy as np
import pytest

from mmdino.curation.vectors import Vectors

FEATURES = np.random.default_rng(0).standard_normal((10, 4))


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1, 4, 9], [5], []])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_have_length_one(rows, dtype):
    vectors = Vectors(FEATURES.astype(dtype), 4, np.array(rows, dtype=int))
    expected = FEATURES[rows] / np.linalg.norm(FEATURES[rows], axis=1, keepdims=True)
    assert vectors[:].dtype == np.float32
    np.testing.assert_allclose(vectors[:], expected, atol=2e-3 if dtype == "float16" else 1e-6)
    blocks = [block for _, block in vectors.blocks(2)]
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 4)), *blocks]), vectors[:])


def test_a_feature_of_zeros_is_similar_to_nothing():
    vectors = Vectors(np.array([[0.0, 0.0], [3.0, 4.0]]), 2, np.arange(2))
    np.testing.assert_allclose(vectors[:], [[0, 0], [0.6, 0.8]])


def test_the_file_is_not_changed():
    features = FEATURES.astype(np.float32)
    Vectors(features, 4, np.arange(10))[:]
    np.testing.assert_array_equal(features, FEATURES.astype(np.float32))
