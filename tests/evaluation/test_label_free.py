"""Effective ranks and shared neighbours against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import eigh

from mmdino.evaluation.label_free import lidar, neighbor_overlap, rankme


def entropy_rank(spectrum, epsilon=1e-7):
    fractions = spectrum / spectrum.sum() + epsilon
    return np.exp(-(fractions * np.log(fractions)).sum())


@pytest.fixture
def views():
    """Features (40, 3, 6) of three views of each image; the last two directions are noise."""
    torch.manual_seed(0)
    scale = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.0, 0.0])
    return torch.randn(40, 1, 6) * scale + 0.2 * torch.randn(40, 3, 6)


def test_rankme_is_the_entropy_of_the_singular_values(views):
    features = views[:, 0]
    singular = np.linalg.svd(features.double().numpy(), compute_uv=False)
    assert rankme(features) == pytest.approx(entropy_rank(singular), rel=1e-9)


@pytest.mark.parametrize(
    ("features", "rank"),
    [
        (torch.eye(5), 5.0),
        (torch.ones(8, 5), 1.0),
        (torch.cat([torch.eye(3), torch.zeros(3, 2)], 1), 3.0),
        (torch.zeros(8, 5), 0.0),
    ],
    ids=["all directions", "one feature", "three of five", "zero"],
)
def test_rankme_of_known_spectra(features, rank):
    assert rankme(features) == pytest.approx(rank, abs=1e-4)


def test_lidar_is_the_entropy_of_the_discriminant_spectrum(views):
    features = views.double().numpy()
    means = features.mean(1)
    between = np.cov(means.T)
    residuals = (features - means[:, None]).reshape(-1, 6)
    within = residuals.T @ residuals / (40 * 2) + 1e-4 * np.eye(6)
    spectrum = eigh(between, within, eigvals_only=True)
    assert lidar(views) == pytest.approx(entropy_rank(spectrum), rel=1e-9)


def test_lidar_leaves_out_what_only_the_views_differ_in():
    torch.manual_seed(0)
    image = torch.cat([torch.randn(200, 1, 2), torch.zeros(200, 1, 4)], 2).expand(-1, 4, -1)
    noise = torch.cat([0.01 * torch.randn(200, 4, 2), torch.randn(200, 4, 4)], 2)
    assert lidar(image + noise) < 2.1
    assert rankme((image + noise)[:, 0]) > 5


def test_overlap_counts_the_neighbours_that_two_views_share():
    torch.manual_seed(0)
    first, second = torch.randn(2, 30, 4).unbind()
    neighbours = []
    for view in (first, second):
        unit = torch.nn.functional.normalize(view, dim=1)
        similarity = (unit @ unit.T).fill_diagonal_(-2)
        neighbours.append([set(row.tolist()) for row in similarity.topk(5).indices])
    expected = np.mean([len(a & b) / 5 for a, b in zip(*neighbours, strict=True)])
    assert neighbor_overlap(first, second, 5) == pytest.approx(expected)
    assert 0 < expected < 1
    assert neighbor_overlap(first, 2 * first, 5) == 1


def test_equal_features_have_neighbours_too():
    """The image itself may not be among its nearest, of which all are equally near."""
    features = torch.ones(30, 4)
    assert 0 <= neighbor_overlap(features, features, 5) <= 1
