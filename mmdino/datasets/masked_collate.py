"""Collation of a batch of views with masks for the global ones."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from mmdino.datasets.block_masks import LEAST_SIDE, batch_masks
from mmdino.registry import FUNCTIONS
from mmdino.utils.numbers import require_number

OWNER = "BlockMasks"


@FUNCTIONS.register_module(name=OWNER)
def collate_with_block_masks(
    batch: Sequence[dict],
    view_size: int | Sequence[int],
    patch_size: int,
    num_global_views: int = 2,
    probability: float = 0.5,
    ratio: Sequence[float] = (0.1, 0.5),
    exact_counts: bool = False,
    circular_shift: bool = False,
) -> dict[str, Any]:
    """Collates samples as mmengine's ``pseudo_collate`` does, and draws masks for the global views.

    Registered as ``BlockMasks``, for the ``collate_fn`` of a training dataloader. The masks are
    those of :func:`~mmdino.datasets.block_masks.batch_masks`: a fixed fraction of the global crops
    of a batch has one. They depend only on the seeds of the batch's samples (``sample_idx`` of the
    data samples, see :class:`~mmdino.datasets.samplers.seeded_index.SeededIndex`), not on the
    number of workers or on a resume. If a sample has no seed, NumPy's global generator draws one.

    Args:
        batch: B samples with ``inputs``, views (C, H, W), the global ones first, and
            ``data_samples``.
        view_size: Height and width of the global views, in pixels; an int means a square.
        patch_size: Side of a patch of the backbone, in pixels.
        num_global_views: Number G of global views.
        probability: Fraction of the global crops of the batch that have a mask.
        ratio: Smallest and largest fraction of the patches of a crop that are masked.
        exact_counts: Whether masks have exact numbers of patches, as in DINOv3.
        circular_shift: Whether masks are shifted circularly, an option of DINOv3.

    Returns:
        ``inputs`` and ``data_samples`` of the batch; ``masks``, a bool tensor (G, B, P), True where
        one of the P patches is masked, row by row; and ``mask_indices``, int64 (M,), the positions
        of the M masked patches in the flattened masks, which are here so that the host does not
        have to wait for a device to count them.

    Raises:
        TypeError: If an option has the wrong type.
        ValueError: If an option is out of range, the size is not a multiple of the patch size, the
            grid is too small for blocks, or the views of a sample are not those described.

    Example:
        >>> train_dataloader = dict(
        ...     collate_fn=dict(type="mmdino.BlockMasks", view_size=224, patch_size=16))
    """
    grid = patch_grid(view_size, patch_size)
    require_number(OWNER, "num_global_views", num_global_views, least=1, whole=True)
    require_number(OWNER, "probability", probability, least=0, most=1)
    ratio = _checked_ratio(ratio, grid)
    for sample in batch:
        _check_views(sample, tuple(side * patch_size for side in grid), num_global_views)
    masks = batch_masks(
        num_global_views * len(batch),
        grid,
        rng_for_batch(batch),
        probability,
        ratio,
        exact_counts,
        circular_shift,
    )
    masks = torch.from_numpy(masks).view(num_global_views, len(batch), -1)
    indices = masks.flatten().nonzero().squeeze(1)
    return {**pseudo_collate(batch), "masks": masks, "mask_indices": indices}


def patch_grid(view_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    """Returns the patches along height and width of a view.

    Raises:
        TypeError: If a size is not a whole number.
        ValueError: If a size is not positive, the patch size does not divide the view's, or a side
            has so few patches that no block fits.
    """
    require_number(OWNER, "patch_size", patch_size, least=1, whole=True)
    sides = tuple(view_size) if isinstance(view_size, Sequence) else (view_size, view_size)
    for side in sides:
        require_number(OWNER, "view_size", side, least=1, whole=True)
    if len(sides) != 2:
        raise ValueError(
            f"{OWNER} got view_size={view_size!r}; it must be a number of pixels or (height, "
            "width)."
        )
    if any(side % patch_size for side in sides):
        raise ValueError(
            f"{OWNER} got view_size={view_size!r}, which patch_size={patch_size} does not divide. "
            "Set the size of the global views, here and in MultiCropTransform, to a multiple of "
            "the backbone's patch_size."
        )
    height, width = (side // patch_size for side in sides)
    if min(height, width) < LEAST_SIDE:
        raise ValueError(
            f"{OWNER} got view_size={view_size!r} and patch_size={patch_size}: a grid of "
            f"{height} x {width} patches is too small for blocks of 2 x 2, which are to be smaller "
            "than it. "
            f"Use a patch_size with at least {LEAST_SIDE} patches a side (patch_size at most "
            f"{max(1, min(sides) // LEAST_SIDE)}), or larger views."
        )
    return height, width


def rng_for_batch(batch: Sequence[dict]) -> Random:
    """Returns a generator seeded by the seeds of all samples, else by NumPy's global generator."""
    seeds = [
        getattr(getattr(sample.get("data_samples"), "sample_idx", None), "seed", None)
        for sample in batch
    ]
    if None in seeds:
        return Random(np.random.randint(np.iinfo(np.int64).max, dtype=np.int64).item())
    # Python turns a string into the same seed in each process, which its hash is not.
    return Random(str([[int(part) for part in seed] for seed in seeds]))


def _checked_ratio(ratio: Sequence[float], grid: tuple[int, int]) -> tuple[float, float]:
    if not isinstance(ratio, Sequence) or len(ratio) != 2:
        raise TypeError(
            f"{OWNER} got ratio={ratio!r}; it must be two fractions of the patches of a crop, the "
            "smallest and the largest (0.1 and 0.5 in the paper's code)."
        )
    for end in ratio:
        require_number(OWNER, "ratio", end, least=0, most=1)
    low, high = ratio
    if low > high:
        raise ValueError(f"{OWNER} got ratio={ratio!r}; the first must not be above the second.")
    height, width = grid
    if high * height * width < 1:
        raise ValueError(
            f"{OWNER} got ratio={ratio!r}, which is less than one of the {height} x {width} "
            "patches of a crop. Set a larger ratio, or probability=0 for no masks at all."
        )
    return low, high


def _check_views(sample: dict, size: tuple[int, int], num_global_views: int) -> None:
    """Checks that a sample has global views of the size that masks are drawn for.

    Raises:
        ValueError: If it has not.
    """
    views = sample.get("inputs")
    if not isinstance(views, (list, tuple)) or len(views) < num_global_views:
        found = f"{len(views)} view(s)" if isinstance(views, (list, tuple)) else "no list of views"
        raise ValueError(
            f"{OWNER} masks {num_global_views} global views of each image, but a sample has "
            f"{found}. Put mmdino.MultiCropTransform and mmdino.PackViews into the pipeline, and "
            "set num_global_views to the number of its global views."
        )
    for view in views[:num_global_views]:
        if tuple(view.shape[-2:]) != size:
            raise ValueError(
                f"{OWNER} has view_size={size}, but a global view has size "
                f"{tuple(view.shape[-2:])}. Set view_size to the size of the first view groups of "
                f"MultiCropTransform, and num_global_views ({num_global_views}) to their number."
            )
