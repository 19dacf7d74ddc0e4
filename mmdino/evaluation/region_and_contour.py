"""Region similarity J and contour accuracy F of masks (Perazzi et al. 2016, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

CONTOUR_TOLERANCE = 0.008
"""How far contours may be apart, as a fraction of the image's diagonal."""
RECALL_THRESHOLD = 0.5
BINS = 4


def region_similarity(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Returns J of two masks (H, W), bool: their intersection over union, 1 if both are empty."""
    union = (truth | predicted).sum()
    return float((truth & predicted).sum() / union) if union else 1.0


def contour_accuracy(
    truth: np.ndarray, predicted: np.ndarray, tolerance: float = CONTOUR_TOLERANCE
) -> float:
    """Computes F of two masks.

    Args:
        truth: (H, W), bool.
        predicted: (H, W), bool.
        tolerance: How far contours may be apart, as a fraction of the diagonal; it is rounded up to
            pixels.

    Returns:
        The harmonic mean of the parts of each contour that the other one is near to, 1 if both
        masks have none.
    """
    radius = int(np.ceil(tolerance * np.linalg.norm(truth.shape)))
    down, right = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (down**2 + right**2 <= radius**2).astype(np.uint8)
    contours = [_contour(mask) for mask in (truth, predicted)]
    lengths = [contour.sum() for contour in contours]
    if not any(lengths):
        return 1.0
    if not all(lengths):
        return 0.0
    near = [cv2.dilate(contour, disk) for contour in contours]
    recall = (contours[0] & near[1]).sum() / lengths[0]
    precision = (contours[1] & near[0]).sum() / lengths[1]
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def _contour(mask: np.ndarray) -> np.ndarray:
    """Marks pixels (H, W) uint8 that differ from that to the right, below, or both."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    others = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.any([mask != other for other in others], axis=0).astype(np.uint8)


class Statistics(NamedTuple):
    """What DAVIS reports of a measure over the frames of an object."""

    mean: float
    recall: float
    """Fraction of the frames above 0.5."""
    decay: float
    """Mean over the first quarter of the frames less that over the last quarter."""


def statistics(per_frame: Sequence[float]) -> Statistics:
    """Summarises a measure of an object, frame by frame; there must be a frame."""
    values = np.asarray(per_frame, dtype=float)
    # As in the benchmark's code: neighbouring quarters share a frame.
    edges = np.round(np.linspace(1, len(values), BINS + 1) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[-2] :]
    return Statistics(
        float(values.mean()),
        float((values > RECALL_THRESHOLD).mean()),
        float(first.mean() - last.mean()),
    )
