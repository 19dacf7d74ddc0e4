"""Colours of images by one PCA of a network's patch features."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from mmdino.evaluation.image_input import IMAGENET, Statistics, input_shape, viewing_size
from mmdino.evaluation.pca import Foreground, PatchPCA, fit_pca, map_stride, patch_map


class Painter:
    """Colours images with one PCA of one network.

    Args:
        backbone: The network.
        size: Shorter side of its input in pixels; None for :func:`viewing_size`.
        statistics: By which its images are normalised.
    """

    def __init__(
        self, backbone: nn.Module, size: int | None, statistics: Statistics = IMAGENET
    ) -> None:
        self.backbone = backbone
        self.size = size
        self.statistics = statistics
        self.pca: PatchPCA | None = None
        self._maps: dict[int, Tensor] = {}

    def add(self, index: int, name: str, image: np.ndarray) -> None:
        """Adds an image, given its position and name, to those that the PCA is fitted to."""
        self._maps[index] = self._features(name, image)

    def fit(self, foreground: Foreground | None, threshold: float) -> PatchPCA:
        """Fits the PCA to the images that were added, and returns it."""
        self.pca = fit_pca(list(self._maps.values()), foreground, threshold)
        return self.pca

    def colors(self, index: int, name: str, image: np.ndarray) -> Tensor:
        """Returns the colours (h, w, 3) of an image, given its position and name."""
        # The features that the PCA was fitted to are at hand.
        features = self._maps.get(index)
        return self.pca.colors(self._features(name, image) if features is None else features)

    def input_text(self, image: np.ndarray) -> str:
        """Describes the size at which an image enters the network."""
        stride = map_stride(self.backbone)
        height, width = input_shape(*image.shape[:2], stride, self._size(image))
        return (
            f"{image.shape[1]} x {image.shape[0]} px enter the network as {width} x {height} px, "
            f"{width // stride} x {height // stride} patches of {stride} px"
        )

    def _size(self, image: np.ndarray) -> int:
        return viewing_size(self.backbone, image) if self.size is None else self.size

    def _features(self, name: str, image: np.ndarray) -> Tensor:
        try:
            return patch_map(self.backbone, image, self._size(image), self.statistics)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
