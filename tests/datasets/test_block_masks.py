"""Masks equal the released code's, draw for draw, and reach what it reaches."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch

from mmdino.datasets.block_masks import batch_masks, block_mask, fill_up, shifted

UNIFORM, RANDINT, PLACE = range(3)
MASKS = [
    f"{grid}/{i}"
    for grid, count in {"grid14": 4, "grid16": 3, "rect": 2, "tiny": 2}.items()
    for i in range(count)
]


class RecordedDraws:
    """A source of random numbers that gives recorded ones, to calls with the recorded arguments."""

    def __init__(self, draws):
        self.draws = iter(draws.tolist())

    def _next(self, kind, *arguments):
        recorded, *expected, value = next(self.draws)
        assert recorded == kind
        assert arguments == pytest.approx(expected, abs=1e-12)
        return value

    def uniform(self, low, high):
        return self._next(UNIFORM, low, high)

    def randint(self, low, high):
        return int(self._next(RANDINT, low, high))

    def shuffle(self, items):
        order = [int(self._next(PLACE, place, len(items))) for place in range(len(items))]
        items[:] = [items[place] for place in order]

    def is_used_up(self):
        return next(self.draws, None) is None


@pytest.mark.parametrize("case", MASKS)
def test_mask_equals_the_reference(golden, case):
    arrays = golden("dinov2_masking", f"{case}/")
    draws = RecordedDraws(arrays["draws"])
    expected = arrays["mask"]
    found = block_mask(*expected.shape, int(arrays["target"]), draws)
    assert torch.equal(torch.from_numpy(found), expected)
    assert draws.is_used_up()


@pytest.mark.parametrize("case", ["batch", "odd", "small_prob"])
def test_masks_of_a_batch_equal_the_reference(golden, case):
    arrays = golden("dinov2_masking", f"{case}/")
    side = int(arrays["grid"])
    draws = RecordedDraws(arrays["draws"])
    found = batch_masks(
        2 * int(arrays["images"]),
        (side, side),
        draws,
        float(arrays["probability"]),
        tuple(arrays["ratio"].tolist()),
    )
    assert torch.equal(torch.from_numpy(found).flatten(1), arrays["masks"])
    assert draws.is_used_up()


@pytest.mark.parametrize("side", [14, 16, 37])
def test_masks_reach_their_targets_as_often_as_the_reference(golden, side):
    for target, mean, least, most in golden("dinov2_masking", "statistics/")[f"grid{side}"]:
        rng = Random(0)
        reached = [block_mask(side, side, int(target), rng).sum() for _ in range(30)]
        assert np.mean(reached) == pytest.approx(float(mean), abs=0.5)
        assert least - 3 <= min(reached) <= max(reached) <= most


@pytest.mark.parametrize(
    ("grid", "cap"), [((14, 14), 98), ((16, 16), 128), ((37, 37), 666), ((6, 10), 30)]
)
def test_a_block_covers_half_of_the_rows_at_most(grid, cap):
    """For 518 pixels and patches of 14 the released code gives 666, not half of 37 x 37."""
    largest_areas = []

    class Watched(Random):
        def uniform(self, low, high):
            largest_areas.append(high)
            return super().uniform(low, high)

    block_mask(*grid, grid[0] * grid[1], Watched(0))
    assert max(largest_areas) == cap


@pytest.mark.parametrize("grid", [(14, 14), (6, 10), (10, 6), (3, 3)])
@pytest.mark.parametrize("circular_shift", [False, True])
def test_exact_counts_are_the_upper_ends_of_the_shares(grid, circular_shift):
    patches = grid[0] * grid[1]
    masks = batch_masks(8, grid, Random(1), 0.5, (0.1, 0.5), True, circular_shift)
    found = sorted(masks.reshape(8, -1).sum(1).tolist())
    assert found == [0] * 4 + [int(patches * end) for end in (0.2, 0.3, 0.4, 0.5)]


def test_exact_counts_equal_the_reference(golden):
    """The reference's masks of exact counts; where they are is drawn by another generator."""
    arrays = golden("dinov2_masking", "v3/")
    rng = Random(0)
    for target, expected in zip(arrays["targets"].tolist(), arrays["masks"], strict=True):
        mask = block_mask(*expected.shape, target, rng)
        fill_up(mask, target, rng)
        assert mask.sum() == expected.sum() == target


def test_shift_is_circular_in_both_axes():
    mask = np.zeros((3, 5), dtype=bool)
    mask[0, 0] = True
    places = {tuple(np.argwhere(shifted(mask, Random(seed)))[0].tolist()) for seed in range(200)}
    assert places == {(row, column) for row in range(3) for column in range(5)}


@pytest.mark.parametrize(
    ("num_crops", "probability", "masked"), [(7, 0.5, 3), (2, 0.3, 0), (4, 0.0, 0), (4, 1.0, 4)]
)
def test_the_number_of_masked_crops_is_rounded_down(num_crops, probability, masked):
    masks = batch_masks(num_crops, (8, 8), Random(0), probability)
    assert masks.shape == (num_crops, 8, 8)
    assert masks.any((1, 2)).sum() == masked
