"""A subset with the same fraction of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np


def balanced_subset(
    labels: Sequence[int] | np.ndarray, fraction: float, seed: int = 0
) -> np.ndarray:
    """Draws a fraction of the images of each class, at least one.

    The draw of a class depends only on the seed, the class and its number of images. A larger
    fraction with the same seed contains the smaller one.

    Args:
        labels: Classes (N,), integers of at least 0.
        fraction: Fraction of the images of each class, within (0, 1]; the number of images is
            rounded half up.
        seed: Seed of the draw, at least 0.

    Returns:
        Indices (M,) into ``labels`` in ascending order.

    Raises:
        ValueError: If ``fraction`` or ``seed`` is out of range, or labels are missing or negative.
    """
    labels = np.asarray(labels)
    if not isinstance(fraction, Real) or not 0 < fraction <= 1:
        raise ValueError(
            f"invalid fraction={fraction!r}: expected a number within (0, 1], such as 0.01 for 1 % "
            "of each class."
        )
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"invalid seed={seed!r} of the subset: expected an integer of at least 0.")
    integers = np.issubdtype(labels.dtype, np.integer)
    if labels.ndim != 1 or not len(labels) or not integers or labels.min() < 0:
        raise ValueError(
            "A balanced subset needs labels (N,), integers of at least 0, got "
            f"{labels.dtype} of shape {labels.shape}"
            + (f" and minimum {labels.min()}." if labels.size and integers else ".")
            + " Set with_label=True in the data set."
        )
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    chosen = []
    for label, members in zip(classes, np.split(order, starts[1:]), strict=True):
        number = max(1, math.floor(fraction * len(members) + 0.5))
        shuffled = np.random.default_rng((seed, int(label))).permutation(members)
        chosen.append(shuffled[:number])
    return np.sort(np.concatenate(chosen))
