"""Jaccard indices of masks made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmdino.evaluation.jaccard import (
    BASELINES,
    baseline_masks,
    jaccard_index,
    object_jaccards,
    summarise,
)

# Two patches of 2 x 2 pixels. The object 3 fills the left one but for a pixel of void, and 7 a
# pixel of the right one.
SEG_MAP = np.array([[3, 3, 0, 7], [3, 255, 0, 0]], dtype=np.uint8)
LEFT, RIGHT, BOTH = [[1, 0]], [[0, 1]], [[1, 1]]


def masks(*rows):
    return torch.tensor(rows, dtype=torch.bool)


def test_each_object_is_compared_with_each_mask():
    found = object_jaccards(masks(LEFT, RIGHT, BOTH), SEG_MAP)
    np.testing.assert_allclose(found, [[1, 0, 3 / 7], [0, 1 / 4, 1 / 7]])


def test_void_counts_neither_for_nor_against():
    valid = torch.tensor([[True, True, False]])
    target = torch.tensor([[True, False, True]])
    found = jaccard_index(masks([[1, 0, 1]], [[1, 1, 1]], [[0, 0, 1]]), target, valid)
    assert found.tolist() == [1, 0.5, 0]


def test_masks_of_patches_fit_images_that_are_no_multiple_of_them():
    seg_map = np.zeros((5, 7), np.uint8)
    seg_map[:, :3] = 1
    assert object_jaccards(masks(LEFT), seg_map).tolist() == [[1]]


def test_without_an_object_there_is_nothing_to_compare():
    assert object_jaccards(masks(LEFT, RIGHT), np.array([[0, 255]], np.uint8)).shape == (0, 2)


def test_unknown_ids_are_named():
    with pytest.raises(ValueError, match=r"ids 3, 7 in the mask of a\.png are unknown.*1, 2"):
        object_jaccards(masks(LEFT), SEG_MAP, range(1, 3), "the mask of a.png")


def test_best_head_is_chosen_by_object_and_single_head_by_set():
    first = np.array([[0.8, 0.2], [0.1, 0.5]])
    second = np.array([[0.3, 0.6]])
    found = summarise([first, np.empty((0, 2)), second])
    assert found.best_head == pytest.approx(100 * ((0.8 + 0.5) / 2 + 0.6) / 2)
    assert found.best_single_head == pytest.approx(100 * (0.35 + 0.6) / 2)
    assert found.single_head == 1
    assert found.mean_head == pytest.approx(100 * (0.4 + 0.45) / 2)
    assert (found.num_images, found.num_objects, found.num_without_object) == (2, 3, 1)


def test_a_set_without_any_object_is_refused():
    with pytest.raises(ValueError, match=r"None of 2 image\(s\) has an object"):
        summarise([np.empty((0, 2))] * 2)


def test_baselines_depend_on_shape_and_fraction_only():
    rng = np.random.default_rng(0)
    found = {kind: baseline_masks(kind, (3, 5, 4), 0.6, rng) for kind in BASELINES}
    assert found["whole image"].all()
    assert found["random patches"].sum((1, 2)).tolist() == [12] * 3
    assert not torch.equal(*found["random patches"][:2])
    centred = found["centred patches"]
    assert centred.sum((1, 2)).tolist() == [12] * 3
    assert centred[0, 1:4, 1:3].all()
    assert not centred[0, [0, 0, 4, 4], [0, 3, 0, 3]].any()
