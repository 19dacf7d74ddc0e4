"""Linear centred kernel alignment of features, over mini-batches.

Kornblith et al. 2019 (arXiv 1905.00414), with the unbiased estimate over mini-batches of Nguyen et
al. 2021 (arXiv 2010.15327, equations 2 and 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MIN_BATCH = 4
"""Fewest images of which the unbiased estimate exists."""


def centered_gram(features: Tensor) -> Tensor:
    """Returns the Gram matrix of a batch, centred so that inner products of two are unbiased.

    The centring is that of Szekely and Rizzo 2014, section 2: the diagonal is left out.

    Args:
        features: Features (n, ...) of n images, flattened for the linear kernel.

    Returns:
        The matrix (n, n), float64, with zeros on the diagonal.

    Raises:
        ValueError: If there are fewer than four images.
    """
    count = len(features)
    if count < MIN_BATCH:
        raise ValueError(
            f"CKA needs batches of at least {MIN_BATCH} images, got {count}: take more images."
        )
    flat = features.double().flatten(1)
    # An equal shift of all features changes nothing but the rounding.
    flat = flat - flat.mean(0)
    gram = (flat @ flat.T).fill_diagonal_(0)
    means = gram.sum(0) / (count - 2)
    gram = gram - means[:, None] - means + means.sum() / (count - 1)
    return gram.fill_diagonal_(0)


def unbiased_hsic(first: Tensor, second: Tensor) -> Tensor:
    """Returns the unbiased estimates (L, M) of HSIC of two lists of features of the same batch.

    Args:
        first: Centred Gram matrices (L, n, n).
        second: Centred Gram matrices (M, n, n).
    """
    count = first.shape[-1]
    return first.flatten(1) @ second.flatten(1).T / (count * (count - 3))


class MinibatchCKA:
    """CKA between the layers of two networks, in memory that does not grow with the images.

    Example:
        >>> cka = MinibatchCKA()
        >>> for images in batches:
        ...     cka.add(layers_of(first, images), layers_of(second, images))
        >>> cka.result()  # (L, M)
    """

    def __init__(self) -> None:
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
        """Adds a batch.

        Args:
            first: Features (n, ...) of each of the L layers of one network.
            second: Features (n, ...) of each of the M layers of the other, of the same images.

        Raises:
            ValueError: If there are fewer than four images.
        """
        self.add_grams(
            torch.stack([centered_gram(layer) for layer in first]),
            torch.stack([centered_gram(layer) for layer in second]),
        )

    def add_grams(self, first: Tensor, second: Tensor) -> None:
        """Adds a batch by its centred Gram matrices (L, n, n) and (M, n, n)."""
        own, other = (
            grams.square().flatten(1).sum(1) / (grams.shape[-1] * (grams.shape[-1] - 3))
            for grams in (first, second)
        )
        terms = unbiased_hsic(first, second), own, other
        sums = self._sums
        self._sums = terms if sums is None else tuple(map(torch.add, sums, terms))

    def result(self) -> Tensor:
        """Returns CKA (L, M), float64; about 0 for unrelated features, 1 for equal ones.

        NaN where the features of a layer do not differ between images.

        Raises:
            ValueError: If no batch was added.
        """
        if self._sums is None:
            raise ValueError("CKA needs at least one batch of images.")
        cross, first, second = self._sums
        return cross / (first[:, None] * second).sqrt()
