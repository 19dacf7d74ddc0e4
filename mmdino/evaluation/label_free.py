"""Quality of features without labels: effective ranks, and neighbours that two views agree on."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdino.evaluation.knn import nearest_others

RANK_EPSILON = 1e-7
"""Added to each fraction of the spectrum (Garrido et al. 2023, equation 2)."""
WITHIN_CLASS_DELTA = 1e-4
"""Added to the diagonal of the within-class covariance (Thilak et al. 2024, section 4)."""


def rankme(features: Tensor) -> float:
    """Returns RankMe, the effective rank of features (Garrido et al. 2023).

    The exponential of the entropy of the singular values over their sum: D for D directions of
    equal weight, 1 if all features are multiples of one. At most the smaller of N and D, so that
    ranks of different networks are compared on the same images.

    Args:
        features: Features (N, D), neither centred nor normalised.
    """
    return spectrum_rank(torch.linalg.svdvals(features.double()))


def lidar(features: Tensor, delta: float = WITHIN_CLASS_DELTA) -> float:
    """Returns LiDAR, the effective rank of what differs between images (Thilak et al. 2024).

    The views of an image are a class. The rank is that of the spectrum of linear discriminant
    analysis: directions in which images differ count by how much more they do so than the views
    of one image, so that what the augmentations change does not count. At most the smaller of N - 1
    and D.

    Args:
        features: Features (N, V, D) of V >= 2 views of N >= 2 images.
        delta: What is added to the diagonal of the covariance within images.
    """
    images, views, width = features.shape
    features = features.double()
    means = features.mean(1)
    between = means - means.mean(0)
    within = (features - means[:, None]).reshape(-1, width)
    between_covariance = between.T @ between / (images - 1)
    within_covariance = within.T @ within / (images * (views - 1))
    within_covariance += delta * torch.eye(width, dtype=features.dtype, device=features.device)
    # The spectrum of W^-1/2 B W^-1/2, by the factor L of W = L L^T.
    factor = torch.linalg.cholesky(within_covariance)
    half = torch.linalg.solve_triangular(factor, between_covariance, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
    return spectrum_rank(torch.linalg.eigvalsh((whitened + whitened.T) / 2).clamp(min=0))


def spectrum_rank(spectrum: Tensor) -> float:
    """Returns the exponential of the entropy of a non-negative spectrum (D,) over its sum."""
    total = spectrum.sum()
    if total == 0:
        return 0.0
    fractions = spectrum / total + RANK_EPSILON
    return float((-(fractions * fractions.log()).sum()).exp())


def neighbor_overlap(first: Tensor, second: Tensor, k: int) -> float:
    """Returns how far two views of the images agree on the neighbours of each image.

    Args:
        first: Features (N, D) of a view of N images.
        second: Features (N, D) of another view of them.
        k: Number of nearest neighbours of each image among the others, in its own view, by cosine
            similarity; less than N.

    Returns:
        The mean fraction of the k neighbours that are the same in both views: 1 if all are, and
        k / (N - 1) by chance.
    """
    neighbours = [nearest_others(view, k)[1] for view in (first, second)]
    shared = (neighbours[0][:, :, None] == neighbours[1][:, None, :]).sum((1, 2))
    return float(shared.double().mean() / k)
