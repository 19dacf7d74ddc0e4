"""A share of a labelled set that is the same share of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def balanced_share(labels: Sequence[int] | np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Draws a share of the images of each class, at least one.

    The draw of a class depends on the seed, the class and its number of images alone. A larger
    share with the same seed holds the smaller one.

    Args:
        labels: Classes (N,), integers of at least 0.
        share: Share of the images of each class, above 0 and at most 1; the number of images is
            rounded, half up. 0.01 and 0.1 are the usual few-label settings.
        seed: Another seed draws other images; an integer of at least 0.

    Returns:
        Indices (M,) into ``labels`` in ascending order.

    Raises:
        ValueError: If the share or the seed is out of range, or there are no labels or negative
            ones.
    """
    labels = np.asarray(labels)
    if not 0 < share <= 1:
        raise ValueError(
            f"The share of labelled images is {share}; it must be above 0 and at most 1, such as "
            "0.01 for 1 %."
        )
    if seed < 0:
        raise ValueError(f"The seed of the share is {seed}; it must be at least 0.")
    if labels.ndim != 1 or not len(labels) or labels.min() < 0:
        raise ValueError(
            f"A share needs labels (N,) of at least 0, but they have shape {labels.shape}"
            + (f" and begin at {labels.min()}." if labels.size else ".")
            + " Read the data set with labels."
        )
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    chosen = []
    for label, members in zip(classes, np.split(order, starts[1:]), strict=True):
        number = max(1, math.floor(share * len(members) + 0.5))
        shuffled = np.random.default_rng((seed, int(label))).permutation(members)
        chosen.append(shuffled[:number])
    return np.sort(np.concatenate(chosen))
