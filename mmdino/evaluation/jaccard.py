"""Jaccard index between attention masks and object masks (Caron et al. 2021, figure 4).

Each object of an image is compared with the mask of each head, and the best head counts, as the
first author describes it (github.com/facebookresearch/dino/issues/54).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmdino.datasets.voc_objects import VOID
from mmdino.evaluation.attention import resize_maps

BASELINES = ("random patches", "centred patches", "whole image")


class JaccardSummary(NamedTuple):
    """Jaccard indices of a set of images, in percent.

    Attributes:
        best_head: Mean over images of the mean over objects of the best head's index, which the
            paper reports. The best head is chosen with knowledge of the object.
        best_single_head: The same for the one head that is best over the whole set.
        single_head: That head, from 0.
        mean_head: Mean over all heads.
        num_images: Number of images with an object.
        num_objects: Number of objects in them.
        num_without_object: Number of images left out because they have none.
    """

    best_head: float
    best_single_head: float
    single_head: int
    mean_head: float
    num_images: int
    num_objects: int
    num_without_object: int


def jaccard_index(masks: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Computes intersection over union.

    Args:
        masks: Masks (K, H, W), bool.
        target: Mask (H, W) of one object, bool, with at least one valid pixel.
        valid: Pixels (H, W) that count, bool.

    Returns:
        Indices (K,) from 0 to 1, float64.
    """
    masks, target = masks & valid, target & valid
    intersection = (masks & target).sum((-2, -1))
    union = (masks | target).sum((-2, -1))
    return intersection.double() / union


def object_ids(
    seg_map: np.ndarray, allowed: Collection[int] | None = None, name: str = "a mask"
) -> list[int]:
    """Lists the objects of a mask: its ids other than 0, the background, and 255, void.

    Args:
        seg_map: Ids (H, W).
        allowed: Ids that objects may have; None for any.
        name: What the mask is called in an error.

    Raises:
        ValueError: If there is an id that is not allowed.
    """
    ids = [int(value) for value in np.unique(seg_map) if value not in (0, VOID)]
    unknown = [value for value in ids if allowed is not None and value not in allowed]
    if unknown:
        raise ValueError(
            f"The ids {', '.join(map(str, unknown))} in {name} are unknown. Known are 0 "
            f"(background), {', '.join(map(str, sorted(allowed)))} (objects) and {VOID} (void). "
            "Are these other classes, or a mask of colours instead of ids?"
        )
    return ids


def object_jaccards(
    patch_masks: Tensor,
    seg_map: np.ndarray,
    allowed: Collection[int] | None = None,
    name: str = "a mask",
) -> np.ndarray:
    """Compares masks of patches with each object of an image.

    Args:
        patch_masks: Masks (K, h, w), bool, one per head.
        seg_map: Ids (H, W): 0 is background, 255 void, each other one an object. Void pixels are
            ignored.
        allowed: Ids that objects may have; None for any.
        name: What the mask is called in an error.

    Returns:
        Indices (objects, K) from 0 to 1; (0, K) if there is no object.

    Raises:
        ValueError: If there is an id that is not allowed, or masks have other shapes.
    """
    if patch_masks.dim() != 3:
        raise ValueError(
            f"Masks of patches need the shape (K, h, w), got {tuple(patch_masks.shape)}."
        )
    seg_map = np.asarray(seg_map)
    if seg_map.ndim != 2 or not seg_map.size or not np.issubdtype(seg_map.dtype, np.integer):
        raise ValueError(
            f"{name} is {seg_map.dtype} of shape {seg_map.shape}: expected integer ids of shape "
            "(H, W), which is not empty. Save masks as greyscale or palette PNGs."
        )
    masks = resize_maps(patch_masks, seg_map.shape)
    valid = torch.from_numpy(seg_map != VOID)
    found = [
        jaccard_index(masks, torch.from_numpy(seg_map == value), valid).numpy()
        for value in object_ids(seg_map, allowed, name)
    ]
    return np.stack(found) if found else np.empty((0, len(patch_masks)))


def summarise(jaccards: Sequence[np.ndarray]) -> JaccardSummary:
    """Summarises the indices of a set of images.

    Args:
        jaccards: Indices (objects, heads) of each image, from 0 to 1.

    Raises:
        ValueError: If no image has an object.
    """
    with_object = [indices for indices in jaccards if len(indices)]
    if not with_object:
        raise ValueError(
            f"None of {len(jaccards)} image(s) has an object: all masks are background (0) or void "
            f"({VOID}). Check the masks."
        )
    heads = np.mean([indices.mean(0) for indices in with_object], axis=0)
    best = float(np.mean([indices.max(1).mean() for indices in with_object]))
    return JaccardSummary(
        best_head=100 * best,
        best_single_head=100 * float(heads.max()),
        single_head=int(heads.argmax()),
        mean_head=100 * float(heads.mean()),
        num_images=len(with_object),
        num_objects=sum(map(len, with_object)),
        num_without_object=len(jaccards) - len(with_object),
    )


def baseline_masks(
    kind: str, shape: tuple[int, int, int], fraction: float, rng: np.random.Generator
) -> Tensor:
    """Makes baseline masks that are independent of the image.

    Args:
        kind: ``"random patches"``, of which the best of K may be chosen as with heads;
            ``"centred patches"``, those nearest to the centre; or ``"whole image"``.
        shape: Number K of masks, rows h and columns w of patches.
        fraction: Fraction of the patches in a mask, as uniform attention would have.
        rng: Random generator of the random masks.

    Returns:
        Masks (K, h, w), bool.
    """
    count, rows, columns = shape
    if kind == "whole image":
        return torch.ones(shape, dtype=torch.bool)
    kept = max(1, round(fraction * rows * columns))
    if kind == "random patches":
        distance = rng.random((count, rows * columns))
    else:
        assert kind == "centred patches", kind
        down, right = (abs((np.arange(side) + 0.5) / side - 0.5) for side in (rows, columns))
        distance = np.hypot(down[:, None], right).reshape(1, -1).repeat(count, axis=0)
    nearest = distance.argsort(axis=1, kind="stable")[:, :kept]
    masks = np.zeros((count, rows * columns), dtype=bool)
    np.put_along_axis(masks, nearest, True, axis=1)
    return torch.from_numpy(masks.reshape(shape))
