"""Image retrieval on revisited Oxford and Paris (Caron et al. 2021, section 4.2.1).

The measures are those of Radenovic et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mmdino.evaluation.features import feature_of
from mmdino.evaluation.knn import unit_rows
from mmdino.evaluation.revisited_ground_truth import QueryTruth
from mmdino.models.selfsup.base import patch_stride

Difficulty = Literal["easy", "medium", "hard"]
DIFFICULTIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Which images count as right, and which are taken out of the ranking, at each difficulty."""
SCALES = (1.0, 2**-0.5, 0.5)
"""Scales of the images whose features are averaged."""
KS = (1, 5, 10)


class RetrievalDescriptor(nn.Module):
    """The feature of a backbone, of unit length, at one scale or averaged over several.

    Sides that are no multiple of a ViT's patch are cut at the right and at the bottom, as the
    convolution of the reference does.

    Args:
        backbone: The network.
        scales: Scales of the images.
    """

    def __init__(self, backbone: nn.Module, scales: Sequence[float] = (1.0,)) -> None:
        super().__init__()
        self.backbone = backbone
        self.scales = tuple(scales)
        self.multiple, _ = patch_stride(backbone)

    @property
    def least_side(self) -> int:
        """Smallest side in pixels that has a patch at every scale."""
        return int(np.ceil(self.multiple / min(self.scales)))

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (B, 3, H, W) to features (B, D)."""
        return multi_scale(self._feature, images, self.scales)

    def _feature(self, images: Tensor) -> Tensor:
        height, width = (side - side % self.multiple for side in images.shape[-2:])
        return feature_of(self.backbone, images[..., :height, :width])


def multi_scale(
    model: Callable[[Tensor], Tensor], images: Tensor, scales: Sequence[float] = SCALES
) -> Tensor:
    """Averages the features of images over scales.

    Args:
        model: Maps images to features (B, D).
        images: Images (B, C, H, W).
        scales: Factors of the sides, by bilinear interpolation.

    Returns:
        Features (B, D) of length 1.
    """
    features = [
        model(
            images
            if scale == 1
            else functional.interpolate(images, scale_factor=scale, mode="bilinear")
        )
        for scale in scales
    ]
    return functional.normalize(torch.stack(features).mean(0), dim=1)


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Shrinks an image (H, W, 3) uint8 so that no side is longer than ``size`` pixels.

    Smaller images stay as they are.
    """
    thumbnail = Image.fromarray(image)
    thumbnail.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(thumbnail)


def rank(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Ranks the database by cosine similarity.

    Args:
        queries: Features (Q, D).
        database: Features (N, D).

    Returns:
        Indices (N, Q) of the database, the most similar first.

    Raises:
        ValueError: If a feature is not finite.
    """
    queries, database = (unit_rows(part, 0, len(part)) for part in (queries, database))
    return (database @ queries.T).argsort(dim=0, descending=True, stable=True).numpy()


def average_precision(positions: np.ndarray, num_positives: int) -> float:
    """Computes the area below the precision-recall curve, by trapezoids.

    Args:
        positions: Ranks of the right images, from 0, ascending; those that were not found are left
            out.
        num_positives: Number of right images, also of those.
    """
    found = np.arange(len(positions))
    before = np.where(positions == 0, 1.0, found / np.maximum(positions, 1))
    after = (found + 1) / (positions + 1)
    return float(((before + after) / 2).sum() / num_positives)


@dataclass(frozen=True)
class RetrievalScores:
    """Scores at one difficulty. A query without right images is nan, and no part of a mean.

    Args:
        average_precision: (Q,).
        precision_at_k: (Q, number of ks). Where all right images come before rank k, the rank of
            the last of them takes the place of k.
    """

    average_precision: np.ndarray
    precision_at_k: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """Which queries (Q,) have a right image, bool."""
        return ~np.isnan(self.average_precision)

    @property
    def mean_average_precision(self) -> float:
        """Mean over queries; nan if none has a right image."""
        return float(self.average_precision[self.counted].mean()) if self.counted.any() else np.nan

    @property
    def mean_precision_at_k(self) -> np.ndarray:
        """Means (number of ks,) over queries; nan if none has a right image."""
        precision = self.precision_at_k
        empty = np.full(precision.shape[1], np.nan)
        return precision[self.counted].mean(0) if self.counted.any() else empty


def check_ks(ks: Sequence[int]) -> None:
    """Checks the ranks at which precision is computed.

    Raises:
        ValueError: If there is none, or one is below 1.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f"invalid ks={list(ks)}: expected whole numbers of at least 1.")


def retrieval_scores(
    ranks: np.ndarray,
    truth: Sequence[QueryTruth],
    difficulty: Difficulty,
    ks: Sequence[int] = KS,
) -> RetrievalScores:
    """Scores rankings.

    Args:
        ranks: Indices (N, Q) of the database, the most similar first.
        truth: The truth on each of the Q queries.
        difficulty: Which images count as right, see ``DIFFICULTIES``.
        ks: Ranks at which precision is computed.

    Raises:
        ValueError: If a k is below 1, or there are not Q truths.
    """
    check_ks(ks)
    if ranks.shape[1] != len(truth):
        raise ValueError(f"{ranks.shape[1]} rankings and {len(truth)} queries do not match.")
    right_kinds, junk_kinds = DIFFICULTIES[difficulty]
    precisions = np.full(len(truth), np.nan)
    precisions_at_k = np.full((len(truth), len(ks)), np.nan)
    for query, about in enumerate(truth):
        right = np.concatenate([getattr(about, kind) for kind in right_kinds])
        if not len(right):
            continue
        junk = np.concatenate([getattr(about, kind) for kind in junk_kinds])
        positions = _positions_without(ranks[:, query], right, junk)
        precisions[query] = average_precision(positions, len(right))
        last = positions.max(initial=-1) + 1
        for column, k in enumerate(ks):
            limit = min(last, k)
            precisions_at_k[query, column] = (positions < limit).sum() / max(limit, 1)
    return RetrievalScores(precisions, precisions_at_k)


def _positions_without(ranking: np.ndarray, right: np.ndarray, junk: np.ndarray) -> np.ndarray:
    """Returns the ranks of the right images, from 0, in the ranking without the junk."""
    is_junk = np.isin(ranking, junk)
    junk_before = is_junk.cumsum() - is_junk
    positions = np.flatnonzero(np.isin(ranking, right))
    return positions - junk_before[positions]
