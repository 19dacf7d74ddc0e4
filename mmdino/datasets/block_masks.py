"""Masks of patches, made of rectangular blocks as in BEiT, iBOT and DINOv2."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import numpy as np

LEAST_AREA = 4
"""Patches of the smallest block that is asked for; near the end of a mask blocks are smaller."""
LOG_ASPECT = math.log(0.3)
"""The logarithm of a block's height over its width lies between this and its negative."""
TRIES = 10
"""Blocks that are tried before a mask is left as it is."""
LEAST_SIDE = 3
"""Patches along a side of the smallest grid: a block of 2 x 2 is to be smaller in both."""


def block_mask(height: int, width: int, target: int, rng: Random) -> np.ndarray:
    """Draws the mask of a crop, as the released code of DINOv2 does (``data/masking.py``).

    Blocks are added until ``target`` patches are masked or none of ten blocks fits. A block covers
    at most half of the grid, and blocks may overlap.

    Args:
        height: Patches along the height of the crop.
        width: Patches along its width.
        target: Number of patches to mask, which is reached but for 3 patches, mostly for all.
        rng: Source of random numbers, of which ``uniform`` and ``randint`` are called.

    Returns:
        The mask (height, width), True where a patch is masked.
    """
    mask = np.zeros((height, width), dtype=bool)
    # The released code's 0.5 * side // patch * side // patch: half the rows, rounded down.
    cap = height // 2 * width
    done = 0
    while done < target:
        added = _add_block(mask, min(target - done, cap), rng)
        if not added:
            break
        done += added
    return mask


def _add_block(mask: np.ndarray, limit: int, rng: Random) -> int:
    """Adds a block of at most ``limit`` new patches to a mask; returns their number, or 0."""
    height, width = mask.shape
    for _ in range(TRIES):
        # Below 4 patches the range is inverted, and areas above the limit are tried too.
        area = rng.uniform(LEAST_AREA, limit)
        aspect = math.exp(rng.uniform(LOG_ASPECT, -LOG_ASPECT))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rows >= height or columns >= width:
            continue
        top, left = rng.randint(0, height - rows), rng.randint(0, width - columns)
        block = mask[top : top + rows, left : left + columns]
        added = block.size - int(block.sum())
        if 0 < added <= limit:
            block[:] = True
            return added
    return 0


def fill_up(mask: np.ndarray, target: int, rng: Random) -> None:
    """Masks random patches, in place, until ``target`` are (DINOv3)."""
    missing = target - int(mask.sum())
    if missing > 0:
        mask.flat[rng.sample(np.flatnonzero(~mask).tolist(), missing)] = True


def shifted(mask: np.ndarray, rng: Random) -> np.ndarray:
    """Shifts a mask circularly by a random number of rows and columns (an option of DINOv3)."""
    return np.roll(mask, [rng.randint(0, side - 1) for side in mask.shape], axis=(0, 1))


def batch_masks(
    num_crops: int,
    grid: tuple[int, int],
    rng: Random,
    probability: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
    exact_counts: bool = False,
    circular_shift: bool = False,
) -> np.ndarray:
    """Draws the masks of all crops of a batch, as the released code does (``data/collate.py``).

    Exactly ``int(num_crops * probability)`` crops, which are drawn, have a mask. The range of
    ratios is divided evenly among them, so that they have small and large masks in each batch.

    Args:
        num_crops: Number V of crops.
        grid: Patches along height and width of a crop.
        rng: Source of random numbers, of which ``uniform``, ``randint`` and ``shuffle`` are called,
            with ``exact_counts`` ``sample`` too.
        probability: Fraction of the crops that have a mask.
        ratio: Smallest and largest fraction of the patches of a crop that are masked.
        exact_counts: Whether each mask has as many patches as the upper end of its part of the
            range gives, random patches making up for what blocks leave (DINOv3). By default the
            ratio is drawn from its part, and blocks may leave a few patches.
        circular_shift: Whether masks are shifted (:func:`shifted`).

    Returns:
        The masks (V, height, width).
    """
    height, width = grid
    num_masked = int(num_crops * probability)
    masks = []
    for low, high in pairwise(np.linspace(*ratio, num_masked + 1).tolist()):
        target = int(height * width * (high if exact_counts else rng.uniform(low, high)))
        mask = block_mask(height, width, target, rng)
        if exact_counts:
            fill_up(mask, target, rng)
        masks.append(shifted(mask, rng) if circular_shift else mask)
    masks += [np.zeros(grid, dtype=bool) for _ in range(num_crops - num_masked)]
    rng.shuffle(masks)
    return np.stack(masks)
