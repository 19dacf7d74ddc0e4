"""Two ranks give the losses, gradients and centres that the formulas say."""

from __future__ import annotations

import pytest
import torch
from script_process import run_script


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the script has found on one process and on two, by "alone", 0 and 1."""
    folder = tmp_path_factory.mktemp("two_ranks")
    run_script("patch_losses_on_two_ranks.py", folder)
    return {who: torch.load(folder / f"{who}.pth") for who in ("alone", 0, 1)}


def of_patches(found):
    """Cases of the loss of masked patches."""
    return [case for case in found[0] if isinstance(case, tuple)]


def test_patches_of_two_ranks_have_the_loss_and_gradient_of_all_patches(found):
    """Each rank divides by its own crops, half as many as one process has."""
    for case in of_patches(found):
        loss, gradients, _ = found["alone"][case]
        mean = (found[0][case][0] + found[1][case][0]) / 2
        torch.testing.assert_close(mean, loss, rtol=0, atol=1e-9)
        for rank in (0, 1):
            torch.testing.assert_close(found[rank][case][1], gradients, rtol=0, atol=1e-9)


def test_the_centre_is_the_unweighted_mean_over_ranks_that_have_masked_patches(found):
    for case in of_patches(found):
        targets, counts = case
        moved = 0.1 * found["alone"]["mean", counts]
        expected = moved if targets.startswith("centered") else torch.zeros_like(moved)
        for rank in (0, 1):
            torch.testing.assert_close(found[rank][case][2], expected, rtol=0, atol=1e-9)


def test_class_tokens_of_two_ranks_are_spread_as_those_of_one(found):
    for case in found[0].keys() - set(of_patches(found)):
        values, gradients = found["alone"][case]
        for name, value in values.items():
            mean = (found[0][case][0][name] + found[1][case][0][name]) / 2
            torch.testing.assert_close(mean, value, rtol=0, atol=1e-9)
        for rank in (0, 1):
            torch.testing.assert_close(found[rank][case][1], gradients, rtol=0, atol=1e-9)
