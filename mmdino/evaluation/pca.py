"""Principal components of patch features as colours (Oquab et al. 2023, figure 1)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmdino.evaluation.image_input import IMAGENET, Statistics, network_input
from mmdino.evaluation.protocol import FOREGROUNDS
from mmdino.evaluation.stored_input import stored_statistics
from mmdino.models.backbones.features import last_output
from mmdino.utils.numbers import require_number
from mmdino.weights.networks import (
    BackboneWeights,
    backbone_weights,
    build_backbone,
    image_side,
    input_channels,
)

Foreground = Literal["auto", "positive", "negative"]
COLORS = 3
"""Components that are shown, as red, green and blue."""
TAILS = 0.01
"""Fraction of the patches beyond each end of the range of a colour, so that few do not set it."""
PROBE = 64
"""Side of the image that shows how many pixels lie between two positions of a map, for a network
that has no size of its own."""
MAP_OPTIONS = {"out_type": "featmap", "gap_before_final_norm": False}
"""Options that some backbones must have to give a map."""


@dataclass(frozen=True)
class Axis:
    """The side of a hyperplane on which the foreground lies.

    Attributes:
        mean: Mean (D,) of the features.
        direction: First component (D,), which points to the foreground.
        threshold: Least projection of a patch of the foreground.
    """

    mean: Tensor
    direction: Tensor
    threshold: float

    def mask(self, features: Tensor) -> Tensor:
        """Returns which features (..., D) belong to the foreground, bool."""
        return (features.double() - self.mean) @ self.direction > self.threshold


@dataclass(frozen=True)
class PatchPCA:
    """Three principal components of patch features, and the colours they are shown in.

    Attributes:
        mean: Mean (D,) of the features.
        components: Components (3, D) of length 1, the largest variance first. Of the entries of a
            component the one of the largest magnitude is positive, which fixes its sign.
        low: Projections (3,) that are shown as 0.
        high: Projections (3,) that are shown as 1.
        explained: Fractions (3,) of the variance.
        patches: Number of patches that they are fitted to.
        foreground: Which patches are shown; None for all.
    """

    mean: Tensor
    components: Tensor
    low: Tensor
    high: Tensor
    explained: Tensor
    patches: int
    foreground: Axis | None = None

    def colors(self, features: Tensor) -> Tensor:
        """Maps features (..., D) to colours (..., 3) from 0 to 1; the background is 0.

        A component without variance is 0.5.
        """
        projected = (features.double() - self.mean) @ self.components.T
        span = self.high - self.low
        scaled = ((projected - self.low) / span.clamp_min(torch.finfo(span.dtype).tiny)).clamp(0, 1)
        scaled = torch.where(span > 0, scaled, 0.5)
        if self.foreground is not None:
            scaled = scaled * self.foreground.mask(features)[..., None]
        return scaled.float()


def load_map_backbone(
    path: str | Path,
    network: Literal["teacher", "student"] = "teacher",
    num_heads: int | None = None,
) -> tuple[nn.Module, Statistics]:
    """Loads a backbone whose output is a map (B, D, h, w) of the last block or stage.

    Its images are normalised by the statistics that come with it.

    Args:
        path: Any file that :func:`backbone_weights` reads.
        network: Which network of the file.
        num_heads: Number of heads of a ViT, if the file does not say it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If no backbone of colour images is found in it.
    """
    weights = backbone_weights(path, network, num_heads=num_heads)
    backbone = map_backbone(weights, str(path))
    channels = input_channels(backbone)
    if channels != 3:
        raise ValueError(
            f"The network of {path} takes images of {channels} channel(s), and the tools read "
            "colour images only."
        )
    return backbone, stored_statistics(weights.meta)


def map_backbone(weights: BackboneWeights, source: str) -> nn.Module:
    """Builds a backbone whose output is a map (B, D, h, w) of the last block or stage.

    Args:
        weights: Its tensors and config.
        source: Name of the file in an error message.

    Raises:
        ValueError: If the tensors do not match, or its output is no map.
    """
    known = inspect.signature(MODELS.get(weights.config["type"])).parameters
    form = {name: value for name, value in MAP_OPTIONS.items() if name in known}
    backbone = build_backbone({**weights.config, **form}, weights.state_dict, source)
    map_stride(backbone)  # refuses what gives no map
    return backbone


def map_stride(backbone: nn.Module) -> int:
    """Returns the pixels between two positions of a backbone's map.

    Of a ViT that is its patch; of a ResNet or a Swin, which halve their maps, what all stages make.

    Raises:
        ValueError: If its output is no map.
    """
    if hasattr(backbone, "class_token_attention"):  # ours: any number of pixels does not fit it
        return backbone.patch_embed.projection.stride[0]
    weight = next(backbone.parameters())
    side = image_side(getattr(backbone, "config", {}), PROBE)
    with torch.no_grad():
        output = last_output(backbone(weight.new_zeros(1, input_channels(backbone), side, side)))
    if output.dim() != 4:
        raise ValueError(
            f"The output of {type(backbone).__name__} has the shape {tuple(output.shape)}; "
            "features of patches are of a map (B, D, height, width), as a ViT or a ResNet gives it."
        )
    return side // output.shape[-1]


def patch_map(
    backbone: nn.Module,
    image: np.ndarray,
    size: int | None = None,
    statistics: Statistics = IMAGENET,
) -> Tensor:
    """Computes the patch features of an image, after the final norm.

    Args:
        backbone: Result of :func:`map_backbone`.
        image: (H, W, C) uint8 or float32, 0 to 255; colours in RGB.
        size: Shorter side, in pixels, at which the image enters the network; None for its own.
        statistics: Of the C channels.

    Returns:
        Features (h, w, D), float32 on the CPU.

    Raises:
        ValueError: If the image does not fit (see :func:`network_input`), or a feature is not
            finite.
    """
    like = next(backbone.parameters())
    pixels = network_input(image, map_stride(backbone), size, like, statistics)
    with torch.no_grad():
        features = backbone(pixels)[-1][0].permute(1, 2, 0).float().cpu()
    if not features.isfinite().all():
        raise ValueError(
            "The patch features are not finite. Check the network's weights: training may have "
            "diverged, or a file may be damaged."
        )
    return features


def fit_pca(
    maps: Sequence[Tensor], foreground: Foreground | None = None, threshold: float = 0.0
) -> PatchPCA:
    """Fits principal components to the patches of all maps together.

    With ``foreground`` there are two: the first component over all patches separates foreground
    from background, and three components are fitted to the foreground alone. Which end of a
    component is the foreground no computation knows: ``"auto"`` takes the end that is rarer at the
    borders of the images (the mean over their outermost patches is on the other side),
    ``"positive"`` and ``"negative"`` take an end of the component as signed in :class:`PatchPCA`.

    Args:
        maps: Features (h, w, D) of images of any sizes.
        foreground: How the foreground is chosen; None for all patches.
        threshold: Projection on the first component above which a patch is foreground, in standard
            deviations of the component, from its mean.

    Returns:
        The components.

    Raises:
        ValueError: If there are fewer patches, or channels, than three components need.
    """
    if foreground is not None and foreground not in FOREGROUNDS:
        raise ValueError(
            f"invalid foreground={foreground!r}: expected one of {', '.join(FOREGROUNDS)}."
        )
    require_number("fit_pca", "threshold", threshold)
    patches = [features.flatten(0, 1) for features in maps]
    _require_enough(patches, "The images have")
    axis = None
    if foreground is not None:
        axis = _foreground_axis(maps, patches, foreground, threshold)
        patches = [features[axis.mask(features)] for features in patches]
        _require_enough(patches, "The foreground has")
    mean, components, variances, total = principal_components(patches)
    components = components[:COLORS]
    projected = torch.cat([(features.double() - mean) @ components.T for features in patches])
    low, high = (_quantile(projected, fraction) for fraction in (TAILS, 1 - TAILS))
    # Rounding alone is no variance.
    seen = variances[:COLORS] > torch.finfo(torch.float32).eps ** 2 * mean.square().sum()
    return PatchPCA(
        mean=mean,
        components=components,
        low=low,
        high=torch.where(seen, high, low),
        explained=variances[:COLORS] / total.clamp_min(torch.finfo(total.dtype).tiny),
        patches=len(projected),
        foreground=axis,
    )


def principal_components(patches: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Computes all principal components in float64, from the covariance summed over the images.

    Args:
        patches: Features (n, D) of each image.

    Returns:
        Mean (D,), components (D, D), their variances (D,), the largest first, and the sum of
        variances.
    """
    patches = list(patches)
    count = sum(map(len, patches))
    mean = sum(features.double().sum(0) for features in patches) / count
    scatter = sum((part := features.double() - mean).T @ part for features in patches)
    variances, vectors = torch.linalg.eigh(scatter / (count - 1))
    variances, components = variances.flip(0).clamp_min(0), vectors.T.flip(0)
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    return mean, components * largest.sign(), variances, variances.sum()


def _foreground_axis(
    maps: Sequence[Tensor], patches: Sequence[Tensor], foreground: Foreground, threshold: float
) -> Axis:
    mean, components, variances, _ = principal_components(patches)
    direction = components[0]
    if foreground == "auto":
        border = torch.cat([_border(features) for features in maps]).double()
        flip = ((border - mean) @ direction).mean() > 0
    else:
        flip = foreground == "negative"
    return Axis(mean, -direction if flip else direction, threshold * variances[0].sqrt().item())


def _border(features: Tensor) -> Tensor:
    """Returns the outermost patches (n, D) of a map (h, w, D)."""
    outermost = torch.ones(features.shape[:2], dtype=torch.bool)
    outermost[1:-1, 1:-1] = False
    return features[outermost]


def _quantile(values: Tensor, fraction: float) -> Tensor:
    """Quantiles (3,) of columns (n, 3); ``torch.quantile`` takes no more than 16 million rows."""
    return torch.from_numpy(np.quantile(values.numpy(), fraction, axis=0))


def _require_enough(patches: Sequence[Tensor], found: str) -> None:
    count, width = sum(map(len, patches)), patches[0].shape[-1] if patches else 0
    if count <= COLORS or width < COLORS:
        raise ValueError(
            f"{found} {count} patch(es) of {width} channels, but {COLORS} components need at least "
            f"{COLORS + 1} of {COLORS} channels. Give more or larger images, a larger size, or "
            "another threshold of the foreground."
        )
