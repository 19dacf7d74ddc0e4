"""A linear classifier in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.utils.float64 import widest

RIDGE = 1e-3
CHUNK = 65536


@torch.no_grad()
def ridge_accuracy(
    queries: Tensor,
    query_labels: Tensor,
    bank: Tensor,
    bank_labels: Tensor,
    ridge: float = RIDGE,
) -> float:
    """Fits a linear classifier by ridge regression on one-hot labels and tests it.

    Sums over images are taken in float64, where the device has it, and by chunks, so that a bank of
    ImageNet needs no second copy.

    Args:
        queries: Features (Q, D).
        query_labels: Their classes (Q,).
        bank: Features (N, D) to fit to. They and the queries are L2-normalised and centred by the
            bank's mean.
        bank_labels: Their classes (N,).
        ridge: Penalty on the squared weights, as a fraction of the mean variance of the features.

    Returns:
        Accuracy in percent.
    """
    classes = int(bank_labels.max()) + 1
    center = sum(chunk.sum(0) for chunk in _unit_chunks(bank)) / len(bank)
    gram = center.new_zeros(len(center), len(center))
    products = center.new_zeros(len(center), classes)
    for chunk, labels in zip(_unit_chunks(bank), bank_labels.split(CHUNK), strict=True):
        centered = chunk - center
        gram += centered.T @ centered
        # The rows of each class summed: a product with one-hot labels without these.
        products.index_add_(1, labels.to(chunk.device), centered.T)
    penalty = ridge * gram.diagonal().mean()
    # Features that are all the same have no variance; then the classes' frequencies decide.
    penalty = penalty if penalty > 0 else torch.ones_like(penalty)
    weights = torch.linalg.solve(gram + penalty * torch.eye(len(gram)).to(gram), products)
    frequencies = torch.bincount(bank_labels.to(gram.device), minlength=classes) / len(bank)
    right = 0
    for chunk, labels in zip(_unit_chunks(queries), query_labels.split(CHUNK), strict=True):
        scores = (chunk - center) @ weights + frequencies
        right += int((scores.argmax(1) == labels.to(scores.device)).sum())
    return 100.0 * right / len(queries)


def _unit_chunks(features: Tensor) -> Iterator[Tensor]:
    for chunk in features.split(CHUNK):
        yield functional.normalize(widest(chunk), dim=1)
