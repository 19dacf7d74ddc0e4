"""Whether two ways to make views make them with the same distribution."""

from __future__ import annotations

import numpy as np

BINS = 16
"""Bins of a channel's histogram."""
FAR = 4.5
"""A deviate beyond which two distributions are told apart: a normal one in 150,000 is."""


def view_statistics(views: np.ndarray) -> np.ndarray:
    """Measures each view of one image: levels, colours, contrast, sharpness, histograms.

    Args:
        views: Views (N, H, W, 3), BGR, 8 bits.

    Returns:
        Statistics (N, S): of the channels and of their differences the means, deviations and how
        far these lie from those of the other views; the share of grey views; sharpness; and the
        shares of 16 bins a channel.
    """
    number = len(views)
    levels = views.reshape(number, -1, 3).astype(np.float32)
    blue, green, red = np.moveaxis(levels, -1, 0)
    colors = np.stack([blue - green, red - green], axis=-1)
    means = np.concatenate([levels.mean(axis=1), colors.mean(axis=1)], axis=-1)
    deviations, color_deviations = levels.std(axis=1), colors.std(axis=1)
    vividness = color_deviations / (1 + deviations.mean(axis=-1, keepdims=True))
    # How far the views of an image lie apart is what the jitter is for.
    kinds = np.concatenate([means, deviations, vividness], axis=-1)
    spread = (kinds - kinds.mean(axis=0)) ** 2
    gray = (np.abs(colors).max(axis=(1, 2)) == 0)[:, None]
    sharpness = np.abs(np.diff(views.astype(np.float32), axis=2)).mean(axis=(1, 2, 3))[:, None]
    places = 3 * np.arange(number)[:, None, None] + np.arange(3)
    bins = BINS * places + (levels // (256 // BINS)).astype(np.int64)
    counts = np.bincount(bins.ravel(), minlength=3 * BINS * number)
    shares = counts.reshape(number, -1) / levels.shape[1]
    return np.concatenate([kinds, color_deviations, spread, gray, sharpness, shares], axis=-1)


def deviates(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Compares statistics (I, N, S) of N views of each of the same I images.

    Returns:
        The difference of each mean statistic over its standard error (S,); about one in twenty is
        above 2 where the distributions are the same.
    """
    variance = ours.var(axis=1).mean(axis=0) + theirs.var(axis=1).mean(axis=0)
    difference = np.abs(ours.mean(axis=(0, 1)) - theirs.mean(axis=(0, 1)))
    error = np.sqrt(variance / (ours.shape[0] * ours.shape[1]))
    # What never varies, such as a bin that is always empty, has no error and no difference.
    return np.divide(difference, error, out=np.zeros_like(difference), where=difference > 0)
