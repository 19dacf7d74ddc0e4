"""Masks with invalid ids, or of another size than their image."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

SIZE = (4, 6)


def check(seg_map, num_classes=3, **sample):
    step = TRANSFORMS.build({"type": "mmdino.CheckSegMap", "num_classes": num_classes})
    results = {"gt_seg_map": seg_map, "seg_map_path": "masks/a.png"} | sample
    return step(results)


def mask(*ids):
    """Returns a mask with these ids in turn."""
    return np.resize(np.array(ids, dtype=np.uint8), SIZE)


@pytest.mark.parametrize("ids", [(0,), (0, 1, 2), (2, 255), (255,)])
def test_classes_and_ignored_pixels_pass_unchanged(ids):
    results = check(mask(*ids), ori_shape=SIZE)
    np.testing.assert_array_equal(results["gt_seg_map"], mask(*ids))


def test_a_mask_of_16_bits_is_refused(tmp_path):
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        cv2.imwrite(str(tmp_path / f"{bits}.png"), np.full(SIZE, 2, dtype))
    check(mask(2), seg_map_path=str(tmp_path / "8.png"))
    with pytest.raises(ValueError, match=r"16\.png is a 16-bit PNG.*id 256 becomes 0"):
        check(mask(2), seg_map_path=str(tmp_path / "16.png"))


def test_unknown_ids_are_refused_with_the_file_and_what_is_allowed():
    message = (
        r"masks/a.png has unknown ids: 3, 254. Valid ids are 0 to 2 \(the classes\) and 255 .*"
        r"IgnoreSegIds', ids=\[3, 254\]"
    )
    with pytest.raises(ValueError, match=message):
        check(mask(0, 3, 254, 255))


def test_ids_are_named_as_they_are_in_the_file_where_zero_is_reduced():
    with pytest.raises(ValueError, match=r"unknown ids: 4\. Valid ids are 1 to 3 .*, 0 \(ignored"):
        check(mask(0, 1, 2, 3), reduce_zero_label=True)


def test_many_unknown_ids_are_counted():
    with pytest.raises(ValueError, match=r"9, 10, 11, 12 and 11 more\. Valid"):
        check(mask(*range(24)))


def test_mask_of_colours_is_refused():
    with pytest.raises(ValueError, match=r"shape \(4, 6, 3\): expected \(height, width\)"):
        check(np.zeros((*SIZE, 3), dtype=np.uint8))


def test_mask_of_another_size_than_its_image_is_refused():
    with pytest.raises(ValueError, match=r"size \(4, 6\) .* its image \(6, 4\)"):
        check(mask(0), ori_shape=SIZE[::-1])


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="num_classes=0"):
        check(mask(0), num_classes=0)
