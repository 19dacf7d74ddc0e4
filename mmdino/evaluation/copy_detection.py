"""Detection of copies of images (Caron et al. 2021, section 4.2.1): features and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmdino.evaluation.listed_features import class_and_map
from mmdino.evaluation.retrieval import average_precision

POWER = 4.0
"""Power of the generalised mean."""
LEAST_TOKEN = 1e-6
"""Below this an entry of a patch token counts as this."""
LEAST_EIGENVALUE = 1e-5
"""Smallest eigenvalue of whitening, of the largest one."""
RETRIEVED = 20
"""Images that are retrieved for a query of Copydays; copies beyond them are not found."""


class CopyDescriptor(nn.Module):
    """The class token beside the generalised mean of the patch tokens, (B, 2 D).

    A network without class token has the mean over its map in its place.

    Args:
        backbone: A ViT, or a network whose output is a map.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Maps normalised images (B, 3, H, W) to features (B, 2 D)."""
        token, patches = class_and_map(self.backbone, images)
        return torch.cat([token, generalised_mean(patches.flatten(2).transpose(1, 2))], dim=1)


def generalised_mean(tokens: Tensor, power: float = POWER, least: float = LEAST_TOKEN) -> Tensor:
    """Pools tokens (B, N, D) to (B, D): the mean of their powers, to the power of 1 / ``power``.

    Args:
        tokens: Patch tokens.
        power: Power; 1 is the mean, and infinity the maximum.
        least: Below this an entry counts as this.
    """
    return tokens.clamp_min(least).pow(power).mean(1).pow(1 / power)


def squeeze(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes an image (H, W, 3) uint8 to a square, bicubic, whatever its proportions."""
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)


@dataclass(frozen=True)
class Whitening:
    """A linear map after which the directions of the features it was learnt on count equally.

    Args:
        mean: Mean (D,) that is subtracted.
        transform: (D, D), from features to whitened ones.
    """

    mean: np.ndarray
    transform: np.ndarray

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Whitens features (N, D), in float64."""
        return (features - self.mean) @ self.transform


def learn_whitening(features: np.ndarray, least: float = LEAST_EIGENVALUE) -> Whitening:
    """Learns whitening from features of images that are in none of the other sets.

    As in the reference, the mean is subtracted from the features that are whitened, but the
    eigenvectors are those of the second moment about 0 and not about the mean.

    Args:
        features: (N, D).
        least: Eigenvalues below this fraction of the largest are raised to it.

    Raises:
        ValueError: If there is no feature, or all are 0.
    """
    features = np.asarray(features, dtype=np.float64)
    if not features.any():
        raise ValueError("Whitening cannot be learnt: there are no features, or all are 0.")
    values, vectors = np.linalg.eigh(features.T @ features / len(features))
    values = np.maximum(values, least * values.max())
    return Whitening(features.mean(0), vectors / np.sqrt(values))


def retrieved_average_precision(
    retrieved: np.ndarray, right: Sequence[Sequence[int]]
) -> np.ndarray:
    """Computes the average precision of each query over what was retrieved for it.

    Args:
        retrieved: Indices (Q, K) of the database, the most similar first; a right image beyond
            them is not found.
        right: The indices of the right images of each query, at least one.

    Returns:
        (Q,).
    """
    return np.array(
        [
            average_precision(np.flatnonzero(np.isin(row, positives)), len(positives))
            for row, positives in zip(retrieved, right, strict=True)
        ]
    )


def micro_average_precision(scores: np.ndarray, correct: np.ndarray, num_positives: int) -> float:
    """Computes the average precision of all pairs of query and reference in one ranking.

    It is the sum of precision times the growth of recall over the thresholds, so that pairs of one
    score come together (Douze et al. 2021, section 3).

    Args:
        scores: Similarities (P,) of pairs.
        correct: Which of them (P,) are copies, bool.
        num_positives: Number of copies, also of those that are in no pair.

    Raises:
        ValueError: If there is no copy.
    """
    if num_positives < 1:
        raise ValueError("There is no copy to find: the ground truth pairs no query with an image.")
    order = np.argsort(-scores, kind="stable")
    scores, correct = scores[order], correct[order]
    last_of_score = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    found = correct.cumsum()[last_of_score]
    ranks = np.flatnonzero(last_of_score) + 1
    return float((np.diff(found, prepend=0) * found / ranks).sum() / num_positives)
