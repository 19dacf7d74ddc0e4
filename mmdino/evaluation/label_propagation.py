"""Propagation of an object's mask through a video by the similarity of patch features.

Nothing is trained (Caron et al. 2021, section 4.2.2; Jabri et al. 2020).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from mmdino.evaluation.listed_features import class_and_map
from mmdino.models.selfsup.base import patch_stride
from mmdino.utils.numbers import require_number

MEAN, STD = (0.485, 0.456, 0.406), (0.228, 0.224, 0.225)
"""Normalisation of frames. The first deviation is the reference's, 0.229 elsewhere."""
LONGER_MULTIPLE = 64
"""What the longer side of a frame is a multiple of, in pixels."""
SIMILARITIES_AT_ONCE = 2**25
"""Numbers of a block of similarities, 128 MiB in float32."""


@dataclass(frozen=True)
class Propagation:
    """How labels propagate.

    Args:
        size: Shorter side of a frame in pixels.
        last_frames: Frames before the current one that labels come from, beside the first one.
        neighbourhood: Most rows, and columns, of patches between a patch and those that it gets
            labels from; 0 for no limit.
        topk: Patches that a patch gets labels from.
        temperature: Temperature of the similarities.

    Raises:
        TypeError: If one is no number.
        ValueError: If one is out of range.
    """

    size: int = 480
    last_frames: int = 7
    neighbourhood: int = 12
    topk: int = 5
    temperature: float = 0.1

    def __post_init__(self) -> None:
        least = {"size": 1, "last_frames": 0, "neighbourhood": 0, "topk": 1}
        for name, bound in least.items():
            value = getattr(self, name)
            require_number("Label propagation", name, value, least=bound, whole=True)
        require_number("Label propagation", "temperature", self.temperature, above=0)


def frame_shape(height: int, width: int, size: int, multiple: int) -> tuple[int, int]:
    """Computes the shape at which a frame enters the network.

    Args:
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
        size: Shorter side in pixels.
        multiple: What sides must be a multiple of: the patch.

    Returns:
        Height and width. The shorter side is ``size``, the longer one is rounded down to a multiple
        of 64 as in the reference, or of the patch where 64 is none or too long.

    Raises:
        ValueError: If the size is no multiple of the patch.
    """
    if size < multiple or size % multiple:
        raise ValueError(
            f"Frames would enter the network with a shorter side of {size} pixels, which is no "
            f"multiple of its patch of {multiple}. Give --size a multiple of {multiple}, such as "
            f"{max(1, round(480 / multiple)) * multiple}."
        )
    longer = size * max(height, width) / min(height, width)
    step = LONGER_MULTIPLE if LONGER_MULTIPLE % multiple == 0 else multiple
    longer = int(longer // step * step) or int(longer // multiple * multiple)
    return (longer, size) if height > width else (size, longer)


def frame_input(frame: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Resizes a frame (H, W, 3) uint8 in RGB and normalises it, to (1, 3, H', W')."""
    resized = cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = torch.from_numpy(resized).float().div(255).permute(2, 0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((pixels - mean) / std)[None]


def one_hot(labels: np.ndarray, shape: tuple[int, int], num_classes: int) -> Tensor:
    """Shrinks labels (H, W) to patches by nearest, and returns a map (K, h, w) of each class."""
    small = Image.fromarray(labels).resize(shape[::-1], Image.Resampling.NEAREST)
    indices = torch.from_numpy(np.array(small, dtype=np.int64))
    return functional.one_hot(indices, num_classes).permute(2, 0, 1).float()


def neighbours_mask(targets: Tensor, shape: tuple[int, int], neighbourhood: int) -> Tensor:
    """Tells which patches are near.

    Args:
        targets: Indices (M,) of patches, row by row.
        shape: Rows h and columns w of patches.
        neighbourhood: Most rows, and columns, between a patch and a near one.

    Returns:
        (h * w, M), bool.
    """
    places = torch.arange(shape[0] * shape[1], device=targets.device)
    rows = (places // shape[1])[:, None] - targets // shape[1]
    columns = (places % shape[1])[:, None] - targets % shape[1]
    return (rows.abs() <= neighbourhood) & (columns.abs() <= neighbourhood)


def propagate(
    source_features: Tensor,
    source_labels: Tensor,
    target_features: Tensor,
    options: Propagation,
    at_once: int = SIMILARITIES_AT_ONCE,
) -> Tensor:
    """Labels the patches of a frame by those of earlier frames.

    Each patch gets the mean label of the ``topk`` most similar ones, weighted by
    exp(cosine / temperature); equal ones at the end of these all count.

    Args:
        source_features: Patch features (F, D, h * w) of earlier frames.
        source_labels: Their labels (F, K, h, w), a number for each class.
        target_features: Patch features (D, h * w).
        options: Neighbourhood, number of sources, temperature.
        at_once: Similarities in memory at a time; at least those of one patch.

    Returns:
        Labels (K, h, w).
    """
    frames, classes, *shape = source_labels.shape
    width, places = target_features.shape
    sources = functional.normalize(source_features, dim=1).permute(0, 2, 1).reshape(-1, width)
    targets = functional.normalize(target_features, dim=0)
    labels = source_labels.permute(1, 0, 2, 3).reshape(classes, -1)
    found = []
    for block in torch.arange(places, device=targets.device).split(max(1, at_once // len(sources))):
        scores = (sources @ targets[:, block]).div_(options.temperature)
        if options.neighbourhood:
            near = neighbours_mask(block, tuple(shape), options.neighbourhood)
            scores.masked_fill_(near.logical_not_().repeat(frames, 1), -torch.inf)
        # Relative to the largest, so that none overflows.
        weights = scores.sub_(scores.amax(0)).exp_()
        least = weights.topk(min(options.topk, len(weights)), dim=0).values[-1]
        weights *= weights >= least
        found.append(labels @ weights.div_(weights.sum(0)))
    return torch.cat(found, dim=1).unflatten(1, shape)


def labels_to_classes(labels: Tensor, shape: tuple[int, int]) -> Tensor:
    """Enlarges labels of patches, and takes the class with the largest at each pixel.

    The map of each class is first scaled to reach from 0 to 1, as in the reference.

    Args:
        labels: Labels (K, h, w), at least 0.
        shape: Height H and width W in pixels.

    Returns:
        Classes (H, W), int64.
    """
    maps = functional.interpolate(labels[None], size=shape, mode="bilinear")[0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    # A class that is everywhere equal has no range: it stays 0, or wins as in the reference.
    scaled = (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
    scaled = torch.where((high == low) & (high > 0), torch.inf, scaled)
    return scaled.argmax(0)


@torch.no_grad()
def segment_video(
    backbone: nn.Module,
    frames: Iterable[np.ndarray],
    first_labels: np.ndarray,
    options: Propagation,
) -> Iterator[np.ndarray]:
    """Propagates the labels of a video's first frame through the others.

    In memory are the features and labels of the first frame and of the last few, and a block of
    similarities, however long the video is.

    Args:
        backbone: A network in eval mode with a map of features, see :func:`class_and_map`.
        frames: Frames (H, W, 3) uint8 in RGB, the first one included.
        first_labels: Labels (H, W) uint8 of the first frame, 0 for the background.
        options: How labels propagate.

    Yields:
        Labels (H, W) uint8 of each frame, of the first one as given.

    Raises:
        ValueError: If a frame has another shape than the labels, or a feature is not finite.
    """
    device = next(backbone.parameters()).device
    shape = frame_shape(*first_labels.shape, options.size, patch_stride(backbone)[0])
    num_classes = int(first_labels.max()) + 1
    first: tuple[Tensor, Tensor] | None = None
    last: deque[tuple[Tensor, Tensor]] = deque(maxlen=options.last_frames)
    for number, frame in enumerate(frames):
        if frame.shape[:2] != first_labels.shape:
            raise ValueError(
                f"frame {number} has {frame.shape[1]} x {frame.shape[0]} pixels, but the mask of "
                f"the first frame {first_labels.shape[1]} x {first_labels.shape[0]}"
            )
        _, maps = class_and_map(backbone, frame_input(frame, shape).to(device))
        features = maps[0].flatten(1).float()
        if not features.isfinite().all():
            raise ValueError(
                "the patch features are not finite: training may have diverged, or a file may be "
                "damaged"
            )
        if first is None:
            grid = tuple(maps.shape[-2:])
            first = features, one_hot(first_labels, grid, num_classes).to(device)
            yield first_labels
            continue
        source_features, source_labels = zip(first, *last, strict=True)
        labels = propagate(
            torch.stack(source_features), torch.stack(source_labels), features, options
        )
        last.append((features, labels))
        classes = labels_to_classes(labels, shape).to(torch.uint8).cpu().numpy()
        full_size = Image.fromarray(classes).resize(frame.shape[1::-1], Image.Resampling.NEAREST)
        yield np.array(full_size)
