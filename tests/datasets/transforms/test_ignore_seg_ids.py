"""Mask ids are mapped to the ignored id."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS


def step(**arguments):
    return TRANSFORMS.build({"type": "mmdino.IgnoreSegIds", **arguments})


def test_these_ids_and_no_other_become_the_ignored_one():
    results = step(ids=[11, 3])({"gt_seg_map": np.array([[0, 3, 11], [10, 12, 255]], np.uint8)})
    expected = np.array([[0, 255, 255], [10, 12, 255]], np.uint8)
    np.testing.assert_array_equal(results["gt_seg_map"], expected)
    assert results["gt_seg_map"].dtype == np.uint8


@pytest.mark.parametrize(
    "arguments", [{"ids": []}, {"ids": [256]}, {"ids": [1], "ignore_index": -1}]
)
def test_ids_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="at least"):
        step(**arguments)
