"""Rotations depend on the place of a patch, and in training on what is drawn."""

from __future__ import annotations

import math

import pytest
import torch

from mmdino.models.layers import RotaryPositions


def angles(module, grid):
    """Angles (P, d / 2), from -pi to pi."""
    cos, sin = module(grid).rotation
    half = cos.shape[1] // 2
    assert torch.equal(cos[:, :half], cos[:, half:])
    return torch.atan2(sin, cos)[:, :half]


def test_angles_of_a_grid_of_one_row_and_two_columns():
    found = angles(RotaryPositions(8).eval(), (1, 2))
    # Periods 1 and 10. The row is at 0, the columns at -1/2 and 1/2.
    expected = torch.tensor([[0, 0, -math.pi, -math.pi / 10], [0, 0, math.pi, math.pi / 10]])
    torch.testing.assert_close(found.abs(), expected.abs())
    torch.testing.assert_close(found[:, 3], expected[:, 3])


def test_options_do_nothing_in_evaluation():
    plain, other = RotaryPositions(8), RotaryPositions(8, shift=1, jitter=2, rescale=2)
    for found, expected in zip(other.eval()((3, 5)).rotation, plain((3, 5)).rotation, strict=True):
        assert torch.equal(found, expected)
    assert not plain.varies
    assert not other.varies
    assert other.train().varies


# The longest period is 1e6^(3/4): its angles are the coordinates, times a constant.
LONG = {"head_dims": 16, "base": 1e6}


def places(grid, seed=0, **options):
    """Coordinates (P, 2) that were drawn."""
    torch.manual_seed(seed)
    module = RotaryPositions(**LONG, **options).double().train()
    return angles(module, grid)[:, [3, 7]] * module.periods[3] / (2 * math.pi)


def test_shift_adds_and_factors_multiply():
    grid = (3, 4)
    plain = places(grid)
    shift = places(grid, shift=0.5) - plain
    assert shift.std(0).max() < 1e-6
    assert shift[0].abs().max() <= 0.5
    assert (shift[0, 0] - shift[0, 1]).abs() > 1e-3
    for options, alike in (({"jitter": 3}, False), ({"rescale": 3}, True)):
        factors = places(grid, **options) / plain
        factors = torch.nan_to_num(factors[0])
        assert ((factors > 1 / 3) & (factors < 3)).all()
        assert ((factors[0] - factors[1]).abs() < 1e-6) == alike


def test_factors_are_uniform_in_their_logarithm():
    draws = torch.stack([places((1, 2), seed, rescale=2)[1, 1] / 0.5 for seed in range(400)])
    logs = draws.log() / math.log(2)
    assert logs.mean().abs() < 0.1
    assert logs.std().item() == pytest.approx(3**-0.5, rel=0.1)
    assert logs.abs().max() <= 1 + 1e-6


def test_half_precision_of_the_module_leaves_rotations_in_float32():
    assert RotaryPositions(8).half()((2, 2)).rotation[0].dtype == torch.float32


@pytest.mark.parametrize("width", [6, 10])
def test_widths_that_are_no_multiple_of_4_are_refused(width):
    with pytest.raises(ValueError, match=f"head_dims={width}; it must be a multiple of 4"):
        RotaryPositions(width)
