"""Biases by offset equal the reference's, and other grids keep what near offsets have learned."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from mmdino.models.layers import RelativePositionBias
from mmdino.models.layers.relative_position_bias import (
    geometric_places,
    relative_index,
    resize_table,
    square_grid,
)


@pytest.mark.parametrize("case", ["square", "wide", "no_class_token"])
def test_bias_index_and_gradient_equal_the_reference(golden, case):
    expected = golden("distillation", f"rpb/{case}/")
    grid, extra = tuple(expected["grid"].tolist()), int(expected["class_token"])
    heads = expected["table"].shape[1]
    module = RelativePositionBias(heads, grid, extra).double()
    module.load_state_dict({"table": expected["table"]})
    assert torch.equal(relative_index(grid, extra), expected["index"])
    bias = module(grid).bias
    (bias * expected["bias_weight"]).sum().backward()
    torch.testing.assert_close(bias, expected["bias"], rtol=0, atol=1e-9)
    torch.testing.assert_close(module.table.grad, expected["table_grad"], rtol=0, atol=1e-9)


def test_registers_share_the_rows_of_the_class_token():
    module = RelativePositionBias(2, (2, 3), num_extra_tokens=3)
    torch.nn.init.normal_(module.table)
    bias, one = module((2, 3)).bias, RelativePositionBias(2, (2, 3))
    one.load_state_dict(module.state_dict())
    expected = one((2, 3)).bias
    for token in range(3):
        torch.testing.assert_close(bias[:, token, 3:], expected[:, 0, 1:])
        torch.testing.assert_close(bias[:, 3:, token], expected[:, 1:, 0])
    torch.testing.assert_close(bias[:, 3:, 3:], expected[:, 1:, 1:])


def test_biases_start_from_0_and_the_smallest_grid_has_one_offset():
    module = RelativePositionBias(2, 1)
    assert module.table.shape == (4, 2)
    assert not module((1, 1)).bias.any()
    module.table.data[0] = 3
    assert (module((2, 4)).bias[:, 1:, 1:] == 3).all()


def patch_bias(module, grid):
    """Biases (heads, h, w, h, w) between patches."""
    return module(grid).bias[:, 1:, 1:].unflatten(2, grid).unflatten(1, grid)


@pytest.mark.parametrize("grid", [(3, 2), (4, 5), (6, 9), (11, 4)])
def test_near_offsets_and_extra_tokens_keep_their_bias_on_any_grid(grid):
    torch.manual_seed(0)
    module = RelativePositionBias(2, (4, 5)).double()
    torch.nn.init.normal_(module.table)
    own, other = patch_bias(module, (4, 5)), patch_bias(module, grid)
    torch.testing.assert_close(other[:, 1, 1, :2, :2], own[:, 1, 1, :2, :2], rtol=0, atol=1e-9)
    torch.testing.assert_close(module(grid).bias[:, :2, 0], module((4, 5)).bias[:, :2, 0])
    # The farthest offset of a larger grid has the bias of the farthest that was learned.
    if grid[0] >= 4 and grid[1] >= 5:
        found, expected = other[:, 0, 0, -1, -1], own[:, 0, 0, -1, -1]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_smaller_grid_is_cut_out_and_gradients_pass():
    module = RelativePositionBias(2, (5, 5)).double()
    torch.nn.init.normal_(module.table)
    expected = patch_bias(module, (5, 5))[:, :3, :4, :3, :4]
    torch.testing.assert_close(patch_bias(module, (3, 4)), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda table: resize_table(table, (3, 2), (5, 4)),
        torch.randn(18, 1, dtype=torch.float64, requires_grad=True),
    )


def test_offsets_are_spread_by_a_geometric_series():
    places = geometric_places(14, 24)
    steps = [later - before for before, later in pairwise(places)]
    factors = [later / before for before, later in pairwise(steps)]
    assert steps[0] == 1
    assert places[-1] == pytest.approx(23)
    assert factors == pytest.approx([factors[0]] * 12)
    assert geometric_places(14, 6) == list(range(14))
    assert geometric_places(2, 6) == [0, 1]
    assert geometric_places(1, 6) == [0]


def test_a_table_of_a_square_grid_is_resized_on_loading():
    source, target = RelativePositionBias(2, 3), RelativePositionBias(2, (4, 6))
    torch.nn.init.normal_(source.table)
    target.load_state_dict(source.state_dict())
    torch.testing.assert_close(target((4, 6)).bias, source((4, 6)).bias)
    assert [square_grid(rows, 1) for rows in (28, 18, 4, 3, 12)] == [
        (3, 3),
        None,
        (1, 1),
        None,
        (2, 2),
    ]
    assert square_grid(25, 0) == (3, 3)
    with pytest.raises(ValueError, match=r"48 rows.*position_encoding\.grid"):
        source.load_state_dict(RelativePositionBias(2, (3, 5)).state_dict())


def test_a_grid_of_three_sides_is_refused():
    with pytest.raises(ValueError, match=r"grid=\[1, 2, 3\]; it must be"):
        RelativePositionBias(2, [1, 2, 3])
