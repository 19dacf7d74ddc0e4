"""Tests whether two chains make views of the same distribution."""

from __future__ import annotations

import numpy as np

BINS = 16
"""Number of bins of a channel's histogram."""
FAR = 4.5
"""Threshold of a difference in standard errors; a normal deviate exceeds it once in 150,000."""


def view_statistics(views: np.ndarray) -> np.ndarray:
    """Measures brightness, colour, contrast, sharpness and histograms of the views of one image.

    Args:
        views: Views (N, H, W, 3), BGR, 8 bits.

    Returns:
        Statistics (N, S): means and standard deviations of the channels and of their differences,
        and the squared distance of these from their mean over the views; 1 for a grey view, else 0;
        sharpness; and the fractions of pixels in 16 bins of each channel.
    """
    number = len(views)
    levels = views.reshape(number, -1, 3).astype(np.float32)
    blue, green, red = np.moveaxis(levels, -1, 0)
    colors = np.stack([blue - green, red - green], axis=-1)
    means = np.concatenate([levels.mean(axis=1), colors.mean(axis=1)], axis=-1)
    deviations, color_deviations = levels.std(axis=1), colors.std(axis=1)
    vividness = color_deviations / (1 + deviations.mean(axis=-1, keepdims=True))
    # The jitter determines how far apart the views of an image are.
    kinds = np.concatenate([means, deviations, vividness], axis=-1)
    spread = (kinds - kinds.mean(axis=0)) ** 2
    gray = (np.abs(colors).max(axis=(1, 2)) == 0)[:, None]
    sharpness = np.abs(np.diff(views.astype(np.float32), axis=2)).mean(axis=(1, 2, 3))[:, None]
    places = 3 * np.arange(number)[:, None, None] + np.arange(3)
    bins = BINS * places + (levels // (256 // BINS)).astype(np.int64)
    counts = np.bincount(bins.ravel(), minlength=3 * BINS * number)
    fractions = counts.reshape(number, -1) / levels.shape[1]
    return np.concatenate([kinds, color_deviations, spread, gray, sharpness, fractions], axis=-1)


def deviates(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Compares statistics (I, N, S) of N views of each of the same I images.

    Returns:
        Difference of each mean statistic (S,) in standard errors; about one in twenty is above 2
        if the distributions are equal.
    """
    variance = ours.var(axis=1).mean(axis=0) + theirs.var(axis=1).mean(axis=0)
    difference = np.abs(ours.mean(axis=(0, 1)) - theirs.mean(axis=(0, 1)))
    error = np.sqrt(variance / (ours.shape[0] * ours.shape[1]))
    # A statistic that never varies, such as an empty bin, has neither error nor difference.
    return np.divide(difference, error, out=np.zeros_like(difference), where=difference > 0)
