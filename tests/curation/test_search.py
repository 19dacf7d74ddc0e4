"""Nearest neighbours against all similarities."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mmdino.curation import search
from mmdino.curation.search import CellIndex, ExactIndex, build_index, measure_recall, neighbours
from mmdino.curation.vectors import Vectors


def clustered(count, width=16, seed=0):
    """Features around 20 centres."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, width))
    features = centres[rng.integers(20, size=count)] + 0.5 * rng.standard_normal((count, width))
    return Vectors(features.astype(np.float32), width, np.arange(count))


def test_exact_search_over_several_blocks_finds_the_nearest(monkeypatch):
    database, queries = clustered(300), clustered(40, seed=1)
    monkeypatch.setattr(Vectors.blocks, "__defaults__", (64,))
    expected = queries[:] @ database[:].T
    found = list(neighbours(ExactIndex(database), queries, 5))
    rows = np.concatenate([rows for *_, rows in found])
    similarities = np.concatenate([values for _, values, _ in found])
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :5])
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :5], atol=1e-5)


def test_approximate_search_finds_most_and_its_similarities_are_exact():
    vectors = clustered(4000)
    index = CellIndex(vectors, seed=0)
    assert index.describe() == {"search": "approximate", "cells": 102, "probes": 16}
    assert len(index) == 4000
    found = measure_recall(index, vectors, 10, threshold=0.9)
    assert found.queries == 500
    assert min(found.neighbours, found.above) > 0.98
    few = measure_recall(CellIndex(vectors, probes=1), vectors, 10, threshold=0.9)
    assert few.neighbours < few.above < 0.98
    similarities, rows = index.search(vectors[:8], 4)
    exact = np.einsum("md,mkd->mk", vectors[:8], vectors[:][rows])
    np.testing.assert_allclose(similarities, exact, atol=1e-5)


def test_an_exact_search_has_full_recall():
    vectors = clustered(100)
    found = measure_recall(ExactIndex(vectors), vectors, 10, threshold=1)
    assert (found.neighbours, found.above, found.queries) == (1, None, 100)


def test_the_seed_decides_an_approximate_search():
    vectors = clustered(2000)
    first, again, other = (CellIndex(vectors, seed, probes=1) for seed in (0, 0, 1))
    queries = vectors[:]
    rows = [index.search(queries, 8)[1] for index in (first, again, other)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any()


def test_automatic_search_is_exact_until_it_takes_long(monkeypatch):
    vectors = clustered(100)
    assert build_index(vectors, 100).describe()["search"] == "exact"
    monkeypatch.setattr(search, "EXACT_PRODUCTS", 1000)
    assert build_index(vectors, 100).describe()["search"] == "approximate"
    assert build_index(vectors, 100, "exact").describe()["search"] == "exact"


def test_missing_faiss_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mmdino\[curate\]"'):
        build_index(clustered(10), 10)
